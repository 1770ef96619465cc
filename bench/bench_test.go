package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
)

// The default states are small, for a first look; the program measures large
// ones.
var benchmarkCases = flag.String("cases", "1x1MiB,16x4MiB,4000x4KiB", "states of the benchmarks")

func eachSize(b *testing.B, f func(b *testing.B, dir string, state map[string]*array.Array)) {
	for size := range strings.SplitSeq(*benchmarkCases, ",") {
		c, err := parseCase(size)
		if err != nil {
			b.Fatal(err)
		}
		state, err := c.owned()
		if err != nil {
			b.Fatal(err)
		}
		b.Run(size, func(b *testing.B) {
			b.SetBytes(c.total())
			b.ReportAllocs()
			f(b, b.TempDir(), state)
		})
	}
}

func BenchmarkSave(b *testing.B) {
	eachSize(b, func(b *testing.B, dir string, state map[string]*array.Array) {
		path := filepath.Join(dir, "checkpoint")
		for b.Loop() {
			if err := orbax.Save(b.Context(), path, state); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			if err := os.RemoveAll(path); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	})
}

func BenchmarkLoadInto(b *testing.B) {
	eachSize(b, func(b *testing.B, dir string, state map[string]*array.Array) {
		path := filepath.Join(dir, "checkpoint")
		if err := orbax.Save(b.Context(), path, state); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if err := orbax.LoadInto(b.Context(), path, &state); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkSaveAsync measures only how long the caller is blocked.
func BenchmarkSaveAsync(b *testing.B) {
	eachSize(b, func(b *testing.B, dir string, state map[string]*array.Array) {
		for i := 0; b.Loop(); i++ {
			path := filepath.Join(dir, fmt.Sprint(i))
			r, err := orbax.SaveAsync(b.Context(), path, state)
			if err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			if err := r.Result(b.Context()); err != nil {
				b.Fatal(err)
			}
			if err := os.RemoveAll(path); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	})
}
