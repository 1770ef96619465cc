package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/go-orbax/orbax/array"
)

// benchCase is a state to be measured: a flat tree of equal arrays of normally
// distributed values.
type benchCase struct {
	Name   string `json:"name"`
	Arrays int    `json:"arrays"`
	Bytes  int    `json:"bytes"` // of one array
	DType  string `json:"dtype"`
}

// maxCase bounds a case to what a mistyped size does not exceed by far.
const maxCase = 1 << 42

func parseCase(s string) (benchCase, error) {
	c := benchCase{Name: s, DType: "float32"}
	bad := fmt.Errorf("case %q: want COUNTxSIZE or COUNTxSIZE:DTYPE such as 64x16MiB:bfloat16, DTYPE being float32 or bfloat16", s)
	sizes, dtype, ok := strings.Cut(s, ":")
	if ok {
		c.DType = dtype
	}
	count, size, ok := strings.Cut(sizes, "x")
	if !ok || c.dtype() == array.Invalid {
		return c, bad
	}
	shift := 0
	for i, unit := range []string{"KiB", "MiB", "GiB"} {
		if rest, ok := strings.CutSuffix(size, unit); ok {
			size, shift = rest, 10*(i+1)
		}
	}
	n, err1 := strconv.ParseUint(count, 10, 24)
	b, err2 := strconv.ParseUint(size, 10, 24)
	if err1 != nil || err2 != nil || n == 0 || b == 0 || n*(b<<shift) > maxCase || (b<<shift)%4 != 0 {
		return c, bad
	}
	c.Arrays, c.Bytes = int(n), int(b<<shift)
	return c, nil
}

// parseCases reads a list of cases, which may be empty.
func parseCases(list string) ([]benchCase, error) {
	var cases []benchCase
	for s := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(list) == "" {
			break
		}
		c, err := parseCase(strings.TrimSpace(s))
		if err != nil {
			return nil, err
		}
		cases = append(cases, c)
	}
	return cases, nil
}

func (c benchCase) total() int64 { return int64(c.Arrays) * int64(c.Bytes) }

// large says that the disk and the memory decide, not the number of arrays.
func (c benchCase) large() bool { return c.Bytes >= 1<<20 }

// bulk says that the arrays are large and so many that what a save or a load
// costs whatever its size does not count.
func (c benchCase) bulk() bool { return c.large() && c.total() >= 256<<20 }

// few says that Orbax does not take ten seconds and more.
func (c benchCase) few() bool { return c.Arrays <= 10_000 }

// manyArrays is how many arrays make their number decide.
const manyArrays = 1000

func (c benchCase) dtype() array.DType {
	switch c.DType {
	case "float32":
		return array.Float32
	case "bfloat16":
		return array.BFloat16
	}
	return array.Invalid
}

// shape gives an array two dimensions where its size allows.
func (c benchCase) shape() []int {
	n := c.Bytes / c.dtype().Size()
	if n%1024 == 0 {
		return []int{n / 1024, 1024}
	}
	return []int{n}
}

func leafName(i int) string { return fmt.Sprintf("w%05d", i) }

// values returns the place of an array's values in the file that writeData wrote:
// a circle of them, where small states lie side by side, and large ones one turn
// after the other, each a little further along, so that no two arrays are equal.
func (c benchCase) values(i int) (offset int64) {
	if c.total() <= maxData {
		return int64(i) * int64(c.Bytes)
	}
	return int64(i) * int64(c.Bytes+64) % maxData
}

// maxData is the size of the file with the values of a large state.
const maxData = 256 << 20

// dataBytes is the size of that file.
func (c benchCase) dataBytes() int64 { return min(c.total(), maxData) }

// newState returns the state, with none of its memory touched.
func (c benchCase) newState() (map[string]*array.Array, error) {
	state := make(map[string]*array.Array, c.Arrays)
	for i := range c.Arrays {
		a, err := array.New(c.dtype(), c.shape(), nil)
		if err != nil {
			return nil, err
		}
		state[leafName(i)] = a
	}
	return state, nil
}

// owned returns a state of which every page has been written to.
func (c benchCase) owned() (map[string]*array.Array, error) {
	state, err := c.newState()
	if err != nil {
		return nil, err
	}
	err = parallel(c.Arrays, func() func(i int) error {
		return func(i int) error {
			b := state[leafName(i)].Bytes()
			b[0] = 0xff
			for n := 1; n < len(b); n *= 2 {
				copy(b[n:], b[:n])
			}
			return nil
		}
	})
	return state, err
}

// writeData writes the values of all arrays to a file, so that all who are
// measured, in whatever language, save the same.
func (c benchCase) writeData(ctx context.Context, name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	// A piece of 64 KiB for each task; with a source of its own, whoever computes
	// it.
	const piece = 64 << 10
	total := c.dataBytes()
	err = parallel(int((total+piece-1)/piece), func() func(i int) error {
		values := make([]float32, piece/c.dtype().Size())
		return func(i int) error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			random := rand.New(rand.NewPCG(1, uint64(i)))
			for j := range values {
				values[j] = float32(random.NormFloat64())
			}
			a, err := array.Of(values).Cast(c.dtype())
			if err != nil {
				return err
			}
			offset := int64(i) * piece
			_, err = f.WriteAt(a.Bytes()[:min(piece, total-offset)], offset)
			return err
		}
	})
	if err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}

// fill gives each array of the state its values.
func (c benchCase) fill(data string, state map[string]*array.Array) error {
	return c.eachArray(data, func() useArray {
		return func(leaf string, read func([]byte) error) error { return read(state[leaf].Bytes()) }
	})
}

// verify compares a state that was loaded with the values that were saved.
func (c benchCase) verify(data string, get func(leaf string) *array.Array) error {
	return c.eachArray(data, func() useArray {
		want := make([]byte, c.Bytes)
		return func(leaf string, read func([]byte) error) error {
			if err := read(want); err != nil {
				return err
			}
			a := get(leaf)
			if a == nil || a.DType() != c.dtype() || !bytes.Equal(a.Bytes(), want) {
				return fmt.Errorf("%s was not loaded as it was saved", leaf)
			}
			return nil
		}
	})
}

// useArray is called with an array's name and what reads its values.
type useArray func(leaf string, read func(dst []byte) error) error

// eachArray has workers use every array, with the values from the file that
// writeData wrote.
func (c benchCase) eachArray(data string, worker func() useArray) error {
	f, err := os.Open(data)
	if err != nil {
		return err
	}
	defer f.Close()
	return parallel(c.Arrays, func() func(i int) error {
		use := worker()
		return func(i int) error {
			return use(leafName(i), func(dst []byte) error {
				for offset := c.values(i); len(dst) > 0; offset = 0 {
					n := min(int64(len(dst)), c.dataBytes()-offset)
					if _, err := f.ReadAt(dst[:n], offset); err != nil {
						return err
					}
					dst = dst[n:]
				}
				return nil
			})
		}
	})
}

// parallel calls what worker returns for every i below n; each processor has a
// worker of its own.
func parallel(n int, worker func() func(i int) error) error {
	var group errgroup.Group
	var next atomic.Int64
	for range min(n, runtime.GOMAXPROCS(0)) {
		group.Go(func() error {
			do := worker()
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return nil
				}
				if err := do(i); err != nil {
					return err
				}
			}
		})
	}
	return group.Wait()
}
