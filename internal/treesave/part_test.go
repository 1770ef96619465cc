package treesave

import (
	"errors"
	"slices"
	"testing"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/places"
	"github.com/go-orbax/orbax/ocdbt"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/tree"
)

// recordPlan returns the plan of process 0 of two for two arrays in chunks of 8 bytes.
func recordPlan(t testing.TB, plainFiles bool) *Plan {
	t.Helper()
	var leaves []tree.Leaf
	for _, name := range []string{"a", "b"} {
		leaves = append(leaves, tree.Leaf{Path: tree.Path{{Name: name}}, Value: array.Of(make([]float32, 8))})
	}
	p, err := New(leaves, Storage{PlainFiles: plainFiles, Arrays: ArrayOptions{ChunkByteSize: 8}}, sharding.Process{Size: 2})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// recordOfPlan returns the record of all chunks of a plan, in three ways of storing them.
func recordOfPlan(p *Plan) []byte {
	var entries []ocdbt.Entry
	seals := make([][]places.Seal, len(p.arrays))
	for i := range p.arrays {
		a := &p.arrays[i]
		a.own = a.allChunks()
		seals[i] = make([]places.Seal, len(a.own))
		for n := range a.own {
			v := ocdbt.Value{Ref: ocdbt.Ref{File: "d/1", Offset: int64(n), Length: 12}}
			if n == 1 {
				v = ocdbt.Value{Inline: []byte("inline")}
			}
			seals[i][n] = places.Seal{byte(i), byte(n)}
			entries = append(entries, ocdbt.Entry{Key: a.name + "/" + a.zarr.Key(a.index(n)), Value: v})
		}
	}
	if p.storage.PlainFiles {
		entries = nil
	}
	return p.partOf(entries, seals)
}

// A record says where all chunks of a process are.
func TestRecord(t *testing.T) {
	for _, plainFiles := range []bool{false, true} {
		p := recordPlan(t, plainFiles)
		m := p.newMerge()
		if err := m.add(1, recordOfPlan(p)); err != nil {
			t.Fatal(err)
		}
		if err := m.complete(); err != nil {
			t.Fatal(err)
		}
		if m.seals[1][3] != (places.Seal{1, 3}) {
			t.Error(m.seals)
		}
		if plainFiles {
			continue
		}
		entries := slices.Collect(m.entries())
		if len(entries) != 10 || entries[0].Key != "a/c/0" || entries[0].Value.Ref.File != "ocdbt.process_1/d/1" || string(entries[1].Value.Inline) != "inline" || entries[4].Key != "a/zarr.json" {
			t.Error(entries)
		}
	}
}

// Records that do not fit the plan are refused.
func TestRecordRefused(t *testing.T) {
	head := func(rest ...byte) []byte { return append([]byte(recordMagic), rest...) }
	for name, doc := range map[string][]byte{
		"a plain file in a database": head(0, 1, 0, 1, 0, 0, 1, 2, 3, 4),
		"a file without a name":      head(1, 0, 1, 0, 1, 0, 2, 0, 8, 1, 2, 3, 4),
		"a file outside":             head(1, 4, '.', '.', '/', 'x', 1, 0, 1, 0, 2, 0, 8, 1, 2, 3, 4),
		"an array too many":          head(0, 1, 2, 1, 0, 1, 1, 'v', 1, 2, 3, 4),
		"a chunk too many":           head(0, 1, 0, 1, 4, 1, 1, 'v', 1, 2, 3, 4),
		"a chunk twice":              head(0, 1, 0, 2, 0, 1, 1, 'v', 1, 2, 3, 4, 0, 1, 1, 'v', 1, 2, 3, 4),
		"more than it says":          head(0, 0, 1),
	} {
		p := recordPlan(t, false)
		if err := p.newMerge().add(1, doc); !errors.Is(err, fault.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := recordPlan(t, false).newMerge().add(1, []byte("go-orbax process 2\n")); !errors.Is(err, fault.ErrUnsupported) {
		t.Error(err)
	}
	m := recordPlan(t, false).newMerge()
	if err := m.complete(); !errors.Is(err, fault.ErrCorrupt) {
		t.Error(err)
	}
}

// FuzzRecord merges records with any contents.
func FuzzRecord(f *testing.F) {
	for _, plainFiles := range []bool{false, true} {
		f.Add(recordOfPlan(recordPlan(f, plainFiles)), plainFiles)
	}
	f.Add(append([]byte(recordMagic), 0, 1, 0, 1, 0, 0, 1, 2, 3, 4), false)
	f.Fuzz(func(t *testing.T, record []byte, plainFiles bool) {
		p := recordPlan(t, plainFiles)
		m := p.newMerge()
		if m.add(1, record) != nil || m.complete() != nil || plainFiles {
			return
		}
		keys := 0
		for range m.entries() {
			keys++
		}
		if keys != 10 {
			t.Errorf("%d keys", keys)
		}
	})
}
