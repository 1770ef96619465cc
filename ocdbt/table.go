package ocdbt

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
)

// dataFile names a file that a node or the manifest refers to.
type dataFile struct {
	path string // relative to the root of the database; "" is no file
	// base is the leading part of path to which the paths in the file's own nodes are
	// relative. Merged databases refer in this way to nodes that were written for another
	// root.
	base string
}

// tableFactor and tableSlack bound the size of decoded paths by the size of their
// encoding. Without the bound each path could repeat up to 64 KiB of the path before it.
const (
	tableFactor = 16
	tableSlack  = 1 << 20
)

// readTable takes a data file table. The paths in it are relative to base.
func readTable(c *cursor, base string) []dataFile {
	budget := tableFactor*len(c.b) + tableSlack
	n := c.count("number of data files", math.MaxInt64, 3)
	if n == 0 {
		return nil
	}
	type lengths struct{ prefix, suffix, base int }
	lens := make([]lengths, n)
	for i := range lens[1:] {
		lens[i+1].prefix = int(c.uvarint("path prefix length", maxPathLength))
	}
	for i := range lens {
		lens[i].suffix = int(c.uvarint("path suffix length", maxPathLength))
	}
	for i := range lens {
		lens[i].base = int(c.uvarint("base path length", maxPathLength))
	}

	files := make([]dataFile, n)
	buf := []byte(base)
	var prev lengths
	for i, l := range lens {
		size := l.prefix + l.suffix
		switch {
		case l.prefix > prev.prefix+prev.suffix:
			c.fail("data file %d: prefix length %d exceeds the previous path's length %d", i, l.prefix, prev.prefix+prev.suffix)
		case len(base)+size > maxPathLength:
			c.fail("data file %d: path of %d bytes exceeds the limit of %d", i, len(base)+size, maxPathLength)
		case l.base > size:
			c.fail("data file %d: base path length %d exceeds path length %d", i, l.base, size)
		case l.base != prev.base && l.prefix > min(l.base, prev.base):
			c.fail("data file %d: prefix length %d exceeds a base path, of lengths %d and %d", i, l.prefix, prev.base, l.base)
		}
		if budget -= len(base) + size; budget < 0 {
			c.fail("data file %d: the table's paths are too long for its size", i)
		}
		suffix := c.bytes("path suffix", l.suffix)
		if c.err != nil {
			return nil
		}
		buf = append(buf[:len(base)+l.prefix], suffix...)
		prev = l
		if size == 0 {
			continue // the placeholder for the root of an empty database
		}
		path := string(buf)
		if !validPath(path) {
			c.fail("data file %d: path %q is absolute, leaves the root, or is not in its simplest form", i, path)
			return nil
		}
		files[i] = dataFile{path: path, base: path[:len(base)+l.base]}
	}
	return files
}

// appendTable appends the data file table of paths, which must be sorted and
// unique. All base paths are empty.
func appendTable(b []byte, paths []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(paths)))
	prefix := make([]int, len(paths))
	for i := 1; i < len(paths); i++ {
		prefix[i] = commonPrefix(paths[i-1], paths[i])
		b = binary.AppendUvarint(b, uint64(prefix[i]))
	}
	for i, p := range paths {
		b = binary.AppendUvarint(b, uint64(len(p)-prefix[i]))
	}
	for range paths {
		b = append(b, 0)
	}
	for i, p := range paths {
		b = append(b, p[prefix[i]:]...)
	}
	return b
}

// tableBuilder collects the files that a node refers to.
type tableBuilder struct {
	index map[string]int // value 0 at first, and the file's number once the table is written
	paths []string
	last  string // saves a look-up if neighbours share a file
}

func (t *tableBuilder) add(path string) {
	if path == t.last && len(t.paths) > 0 {
		return
	}
	t.last = path
	if t.index == nil {
		t.index = make(map[string]int)
	}
	if _, ok := t.index[path]; !ok {
		t.index[path] = 0
		t.paths = append(t.paths, path)
	}
}

// appendTo appends the table to b. After that, index holds the files' numbers.
func (t *tableBuilder) appendTo(b []byte) []byte {
	slices.SortFunc(t.paths, cmp.Compare)
	for i, p := range t.paths {
		t.index[p] = i
	}
	return appendTable(b, t.paths)
}

func commonPrefix(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
