package treesave

import (
	"fmt"
	"github.com/go-orbax/orbax/sharding"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/reuse"
)

// BenchmarkFingerprint measures a save that finds nothing changed, without its documents.
func BenchmarkFingerprint(b *testing.B) {
	print, err := reuse.NewPrinter([reuse.KeySize]byte{1})
	if err != nil {
		b.Fatal(err)
	}
	p, err := New(nil, Storage{}, sharding.Process{})
	if err != nil {
		b.Fatal(err)
	}
	for name, a := range manyArrays() {
		if err := p.addArray(layout.TreeLeaf{}, name, a.(*array.Array)); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(1 << 30)
	for b.Loop() {
		if _, err := p.fingerprint(b.Context(), nil, print); err != nil {
			b.Fatal(err)
		}
	}
}

// manyArrays returns 64 arrays of 16 MiB, no two of whose chunks are equal.
func manyArrays() map[string]any {
	state := map[string]any{}
	for i := range 64 {
		a := array.Of(make([]float32, 4<<20), 4<<20)
		for j := 0; j < len(a.Bytes()); j += 4096 {
			a.Bytes()[j], a.Bytes()[j+1], a.Bytes()[j+2] = byte(i), byte(j>>12), byte(j>>20)
		}
		state[fmt.Sprint(i)] = a
	}
	return state
}

// BenchmarkReuse saves 64 arrays of 16 MiB, one of which changes from save to save:
// without sharing, with recording but without sharing, and with sharing.
func BenchmarkReuse(b *testing.B) {
	state := manyArrays()
	for _, mode := range []string{"full", "recorded", "incremental"} {
		b.Run(mode, func(b *testing.B) {
			r := newRun(b)
			r.reuse.FreshEvery = 1 << 20
			if mode == "full" {
				r.reuse.FreshEvery = 1
			}
			if err := r.try(b.Context(), state); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(1 << 30)
			var moved, saves int64
			for b.Loop() {
				state["7"].(*array.Array).Bytes()[saves%1000]++
				if mode == "recorded" {
					r.reuse.Base = nil
				}
				if err := r.try(b.Context(), state); err != nil {
					b.Fatal(err)
				}
				saves++
				moved += r.meter.Moved.Load()
				b.StopTimer()
				os.RemoveAll(filepath.Dir(r.step(r.steps - 2)))
				b.StartTimer()
			}
			b.ReportMetric(float64(moved)/float64(saves)/(1<<20), "MiB/save")
		})
	}
}
