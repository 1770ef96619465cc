package ocdbt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/heap"
)

// compressed returns a database of entries whose nodes are compressed.
func compressed(t *testing.T, nodeBytes int, entries func(yield func(Entry) bool)) (m memSource, stored int) {
	t.Helper()
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var file []byte
	place := func(node []byte) Ref {
		b := append([]byte{}, node[:envelopeHeader-1]...)
		b = e.EncodeAll(node[envelopeHeader:len(node)-4], append(b, 1))
		binary.LittleEndian.PutUint64(b[4:], uint64(len(b)+4))
		b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
		ref := Ref{File: "d", Offset: int64(len(file)), Length: int64(len(b))}
		file = append(file, b...)
		return ref
	}
	var children, items []item
	size := 0
	flush := func() {
		if len(items) > 0 {
			children = append(children, item{key: items[0].key, value: Value{Ref: place(encodeNode(items, 0, 0))}})
		}
		items, size = nil, 0
	}
	last := ""
	for entry := range entries {
		if size += len(entry.Value.Inline) + 8 + len(entry.Key) - commonPrefix(entry.Key, last); size > nodeBytes {
			flush()
		}
		last = entry.Key
		items = append(items, item{key: entry.Key, value: entry.Value})
	}
	flush()
	root := Root{Ref: place(encodeNode(children, 1, 0)), Height: 1}
	return memSource{"d": file, ManifestName: Manifest(root, [16]byte{1}, time.Unix(1, 0))}, len(file)
}

// keep reads all entries and keeps them, as those who load a tree do.
func keep(t *testing.T, m memSource) (n int, err error) {
	t.Helper()
	db, err := Open(t.Context(), m)
	if err != nil {
		return 0, err
	}
	var kept []Entry
	for e, err := range db.Entries(t.Context(), "") {
		if err != nil {
			return len(kept), err
		}
		kept = append(kept, e)
	}
	return len(kept), nil
}

// A few kilobytes of nodes must not stand for gigabytes of keys and inline values.
func TestTreeBombs(t *testing.T) {
	zero := make([]byte, maxInline)
	for name, c := range map[string]struct {
		node    int
		entries func(yield func(Entry) bool)
	}{
		"keys of one node": {1 << 30, func(yield func(Entry) bool) {
			prefix := strings.Repeat("k", 1250)
			for i := range 1 << 18 {
				if !yield(Entry{Key: fmt.Sprintf("%s%08x", prefix, i)}) {
					return
				}
			}
		}},
		"keys of many nodes": {1 << 20, func(yield func(Entry) bool) {
			prefix := strings.Repeat("k", 60000)
			for i := range 1 << 13 {
				if !yield(Entry{Key: fmt.Sprintf("%s%08x", prefix, i)}) {
					return
				}
			}
		}},
		"inline values": {64 << 20, func(yield func(Entry) bool) {
			for i := range 256 {
				if !yield(Entry{Key: fmt.Sprintf("k%08d", i), Value: Value{Inline: zero}}) {
					return
				}
			}
		}},
	} {
		m, stored := compressed(t, c.node, c.entries)
		var err error
		peak := heap.Peak(func() { _, err = keep(t, m) })
		if !errors.Is(err, fault.ErrCorrupt) {
			t.Errorf("%s, %d bytes stored: %v", name, stored, err)
		}
		if peak > 256<<20+2*justified(int64(stored)) {
			t.Errorf("%s: %d MiB of memory for %d bytes", name, peak>>20, stored)
		}
	}
}

// The index of many equal arrays is as dense as real ones get.
func TestDenseTree(t *testing.T) {
	const arrays = 60_000
	doc := []byte(`{"zarr_format":3,"node_type":"array","shape":[4],"data_type":"uint8",` + strings.Repeat(" ", 900) + `}`)
	for name, format := range map[string]string{"long": "params.layers_%05d.attention.query.kernel", "short": "%05d"} {
		for _, node := range []int{1 << 20, 100 << 20} {
			m, stored := compressed(t, node, func(yield func(Entry) bool) {
				for i := range arrays {
					key := fmt.Sprintf(format, i)
					if !yield(Entry{Key: key + "/c/0", Value: Value{Inline: make([]byte, 8)}}) ||
						!yield(Entry{Key: key + "/zarr.json", Value: Value{Inline: doc}}) {
						return
					}
				}
			})
			if n, err := keep(t, m); err != nil || n != 2*arrays {
				t.Errorf("%s, %d stored: %d entries, %v", name, stored, n, err)
			}
		}
	}
}

// What would be refused when it is read is refused when it is written.
func TestWriteTreeRefusesBombs(t *testing.T) {
	prefix := strings.Repeat("k", 60000)
	m := memSource{}
	_, err := WriteTree(func(yield func(Entry) bool) {
		for i := range 4000 {
			if !yield(Entry{Key: fmt.Sprintf("%s%08x", prefix, i)}) {
				return
			}
		}
	}, 8<<20, m.place)
	if !errors.Is(err, fault.ErrUnsupported) {
		t.Errorf("%v", err)
	}
}

func TestExtents(t *testing.T) {
	var x extents
	for _, c := range []struct {
		r    Ref
		want bool
	}{
		{Ref{"a", 100, 50}, true}, {Ref{"a", 150, 50}, true}, {Ref{"a", 50, 50}, true}, {Ref{"b", 100, 50}, true},
		{Ref{"a", 100, 50}, false}, {Ref{"a", 120, 10}, false}, {Ref{"a", 40, 11}, false}, {Ref{"a", 199, 10}, false},
		{Ref{"a", 0, 1000}, false}, {Ref{"a", 100, 10}, false}, {Ref{"a", 200, 1}, true}, {Ref{"a", 0, 50}, true},
	} {
		if got := x.add(c.r); got != c.want {
			t.Errorf("%+v: %v", c.r, got)
		}
	}
}
