package treesave

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/database"
	"github.com/go-orbax/orbax/internal/heap"
	"github.com/go-orbax/orbax/internal/places"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/ocdbt"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/mem"
	"github.com/go-orbax/orbax/tree"
)

// TestMergeScale merges the records of many processes, each of which has written one chunk
// of each array, and measures what that takes.
func TestMergeScale(t *testing.T) {
	const arrays = 2000
	for _, n := range testenv.Pick([]int{64, 512, 4096}, []int{64}) {
		ids := make([]int, n)
		for i := range ids {
			ids[i] = i
		}
		on := sharding.Named(sharding.Mesh{Shape: []int{n}, AxisNames: []string{"x"}, DeviceIDs: ids}, sharding.PartitionSpec{{"x"}})
		shard, err := array.New(array.Float32, []int{1, 512}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var leaves []tree.Leaf
		for i := range arrays {
			a, err := array.NewSharded(array.Float32, []int{n, 512}, on, array.Shard{Offset: []int{0, 0}, Array: shard})
			if err != nil {
				t.Fatal(err)
			}
			leaves = append(leaves, tree.Leaf{Path: tree.Path{{Name: fmt.Sprintf("layers.%04d.kernel", i)}}, Value: a})
		}
		process := sharding.Process{Size: n}
		p, err := New(leaves, Storage{}, process)
		if err != nil {
			t.Fatal(err)
		}
		store := mem.New()
		stage, err := store.Begin(t.Context(), "ckpt", storage.BeginOptions{})
		if err != nil {
			t.Fatal(err)
		}
		dir, err := ckdir.NewWriteDir(t.Context(), nil, stage, "state", func(string, [sha256.Size]byte) {})
		if err != nil {
			t.Fatal(err)
		}
		size := 0
		for rank := range n {
			record := recordFor(p, rank)
			size += len(record)
			if rank == 0 {
				p.own = record
			} else if err := dir.WriteFile(t.Context(), recordOf(rank), record); err != nil {
				t.Fatal(err)
			}
		}
		from := ckdir.NewReadDir(ckdir.Place{Root: storage.At(store, stage.Dir()), Name: "state"})
		var took, cpu time.Duration
		peak := heap.Peak(func() {
			start, before := time.Now(), testenv.CPUTime()
			if err := p.Merge(t.Context(), from, dir, &ckdir.Settings{Process: process}); err != nil {
				t.Fatal(err)
			}
			took, cpu = time.Since(start), testenv.CPUTime()-before
		})
		t.Logf("%d processes with %d arrays: %d bytes of records, %d keys; merged in %v, %v of CPU, with %d MiB", n, arrays, size, arrays*(n+1), took, cpu, peak>>20)
		if err := stage.Abort(); err != nil {
			t.Fatal(err)
		}
	}
}

// recordFor returns the record of a process that has written the chunk of its rank of each
// array to one file.
func recordFor(p *Plan, rank int) []byte {
	var entries []ocdbt.Entry
	seals := p.newSeals()
	file := "d/" + database.RandomName()
	for i := range p.arrays {
		a := &p.arrays[i]
		a.own, seals[i] = []int{rank}, []places.Seal{{byte(rank), byte(i)}}
		ref := ocdbt.Ref{File: file, Offset: int64(i) * 2064, Length: 2052}
		entries = append(entries, ocdbt.Entry{Key: database.JoinKey(a.name, a.zarr.Key(a.index(rank))), Value: ocdbt.Value{Ref: ref}})
	}
	return p.partOf(entries, seals)
}
