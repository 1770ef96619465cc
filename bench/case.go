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

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/parallel"
)

// benchCase is a state to be measured: a flat tree of equal arrays with normally
// distributed values.
type benchCase struct {
	Name   string `json:"name"`
	Arrays int    `json:"arrays"`
	Bytes  int    `json:"bytes"` // of one array
	DType  string `json:"dtype"`
}

// maxCase is the largest size of a case, to catch mistyped sizes.
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

// parseCases parses a list of cases, which may be empty.
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

// large reports whether the disk and the memory decide the time, not the number of
// arrays.
func (c benchCase) large() bool { return c.Bytes >= 1<<20 }

// bulk reports whether the arrays are large, and so many that the fixed cost of a save or
// a load does not count.
func (c benchCase) bulk() bool { return c.large() && c.total() >= 256<<20 }

// few reports whether Orbax takes less than ten seconds.
func (c benchCase) few() bool { return c.Arrays <= 10_000 }

// manyArrays is the number of arrays from which on their number decides the time.
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

// shape gives an array two dimensions if its size allows it.
func (c benchCase) shape() []int {
	n := c.Bytes / c.dtype().Size()
	if n%1024 == 0 {
		return []int{n / 1024, 1024}
	}
	return []int{n}
}

func leafName(i int) string { return fmt.Sprintf("w%05d", i) }

// values returns the offset of an array's values in the file that writeData wrote. The
// file is a circular buffer. Small states fit in it once. Large states go around it
// several times, each time a little further along, so that no two arrays are equal.
func (c benchCase) values(i int) (offset int64) {
	if c.total() <= maxData {
		return int64(i) * int64(c.Bytes)
	}
	return int64(i) * int64(c.Bytes+64) % maxData
}

// maxData is the size of the file with the values of a large state.
const maxData = 256 << 20

// dataBytes returns the size of that file.
func (c benchCase) dataBytes() int64 { return min(c.total(), maxData) }

// newState returns the state. It touches none of the state's memory.
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

// owned returns a state with every page written to.
func (c benchCase) owned() (map[string]*array.Array, error) {
	state, err := c.newState()
	if err != nil {
		return nil, err
	}
	err = inParallel(c.Arrays, func() func(i int) error {
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

// writeData writes the values of all arrays to a file, so that all programs, in any
// language, save the same values.
func (c benchCase) writeData(ctx context.Context, name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	// Each task is a piece of 64 KiB with its own source, so that the values do not
	// depend on the worker that computes them.
	const piece = 64 << 10
	total := c.dataBytes()
	err = inParallel(int((total+piece-1)/piece), func() func(i int) error {
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

// verify compares a loaded state with the saved values.
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

// useArray is called with an array's name and a function that reads its values.
type useArray func(leaf string, read func(dst []byte) error) error

// eachArray has workers use every array, with the values from the file that writeData
// wrote.
func (c benchCase) eachArray(data string, worker func() useArray) error {
	f, err := os.Open(data)
	if err != nil {
		return err
	}
	defer f.Close()
	return inParallel(c.Arrays, func() func(i int) error {
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

// inParallel calls the function that worker returns for every i below n. Each processor has
// its own worker.
func inParallel(n int, worker func() func(i int) error) error {
	var group parallel.Group
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
