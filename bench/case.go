package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"

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

func (c benchCase) total() int64 { return int64(c.Arrays) * int64(c.Bytes) }

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

// newState returns the state with memory that the program holds already: every
// page has been written to.
func (c benchCase) newState() (map[string]*array.Array, error) {
	state := make(map[string]*array.Array, c.Arrays)
	for i := range c.Arrays {
		a, err := array.New(c.dtype(), c.shape(), nil)
		if err != nil {
			return nil, err
		}
		for j := range a.Bytes() {
			a.Bytes()[j] = 0xff
		}
		state[leafName(i)] = a
	}
	return state, nil
}

// writeData writes the values of all arrays to a file, so that all who are
// measured, in whatever language, save the same.
func (c benchCase) writeData(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	random := rand.New(rand.NewPCG(1, 2))
	values := make([]float32, c.Bytes/c.dtype().Size())
	for range c.Arrays {
		for i := range values {
			values[i] = float32(random.NormFloat64())
		}
		a, err := array.Of(values).Cast(c.dtype())
		if err != nil {
			return err
		}
		if _, err := w.Write(a.Bytes()); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}

// eachArray calls use with the values of one array after the other, from the
// file that writeData wrote.
func (c benchCase) eachArray(name string, use func(leaf string, data []byte) error) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	data := make([]byte, c.Bytes)
	for i := range c.Arrays {
		if _, err := io.ReadFull(f, data); err != nil {
			return err
		}
		if err := use(leafName(i), data); err != nil {
			return err
		}
	}
	return nil
}

// verify compares a state that was loaded with the values that were saved.
func (c benchCase) verify(data string, get func(leaf string) *array.Array) error {
	return c.eachArray(data, func(leaf string, want []byte) error {
		a := get(leaf)
		if a == nil || a.DType() != c.dtype() || !bytes.Equal(a.Bytes(), want) {
			return fmt.Errorf("%s was not loaded as it was saved", leaf)
		}
		return nil
	})
}
