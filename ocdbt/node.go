package ocdbt

import (
	"bytes"
	"math"
)

// node is a decoded B+tree node. Its keys lack the prefix that all keys of the subtree
// share. The prefix is known only from the way from the root to the node.
type node struct {
	height   uint8 // 0 is a leaf
	size     int   // of the body, in bytes
	files    []dataFile
	keys     []nodeKey
	suffixes []byte     // of all keys, concatenated
	refs     []location // of the values or children, one for each key
	inline   []byte     // the values in the node itself, concatenated
}

// nodeKey is a key of a node: the first prefix bytes of the key before it, followed by
// the next suffix bytes of node.suffixes.
type nodeKey struct {
	prefix, suffix uint16
	// common is the number of leading bytes that the keys of the child lack.
	common uint16
}

// location is a range of bytes in a file of the table or, if file is inline, in
// node.inline.
type location struct {
	file           int
	offset, length int64
}

const inline = -1

// ref returns location i, which must not be inline, for use outside the node.
func (n *node) ref(i int) Ref {
	l := n.refs[i]
	return Ref{File: n.files[l.file].path, Offset: l.offset, Length: l.length}
}

// inlineLen returns the length of value i if the node itself holds it, else 0.
func (n *node) inlineLen(i int) int {
	if l := n.refs[i]; l.file == inline {
		return int(l.length)
	}
	return 0
}

func (n *node) value(i int) Value {
	l := n.refs[i]
	if l.file == inline {
		return Value{Inline: n.inline[l.offset : l.offset+l.length : l.offset+l.length]}
	}
	return Value{Ref: n.ref(i)}
}

// decodeNode decodes the body of a node. Paths in it are relative to base.
func decodeNode(body []byte, base string) (*node, error) {
	c := &cursor{b: body}
	n := &node{height: c.uint8("height"), size: len(body)}
	n.files = readTable(c, base)
	size := 4 // bytes for each entry: prefix and suffix length, value length and kind
	if n.height > 0 {
		size = 9 // lengths of prefix, suffix and common prefix, reference, statistics
	}
	count := c.count("number of entries", maxNodeEntries, size)
	if c.err == nil && count == 0 {
		c.fail("no entries")
	}
	n.readKeys(c, count)
	if n.height > 0 {
		n.refs = readRefs(c, n.files, count)
		readStats(c, count)
	} else {
		n.readValues(c, count)
	}
	if err := c.end(); err != nil {
		return nil, corruptf("%w", err)
	}
	return n, nil
}

// readKeys takes the columns of the keys and checks that they ascend.
func (n *node) readKeys(c *cursor, count int) {
	if c.err != nil {
		return
	}
	n.keys = make([]nodeKey, count)
	for i := range n.keys[1:] {
		n.keys[i+1].prefix = uint16(c.uvarint("key prefix length", maxKeyLength))
	}
	for i := range n.keys {
		n.keys[i].suffix = uint16(c.uvarint("key suffix length", maxKeyLength))
	}
	if n.height > 0 {
		for i := range n.keys {
			n.keys[i].common = uint16(c.uvarint("subtree common prefix length", maxKeyLength))
		}
	}
	total, prev := 0, 0
	for i, k := range n.keys {
		size := int(k.prefix) + int(k.suffix)
		switch {
		case int(k.prefix) > prev:
			c.fail("key %d: prefix length %d exceeds the previous key's length %d", i, k.prefix, prev)
		case size > maxKeyLength:
			c.fail("key %d: length %d exceeds the limit of %d", i, size, maxKeyLength)
		case int(k.common) > size:
			c.fail("key %d: subtree common prefix length %d exceeds the key's length %d", i, k.common, size)
		}
		total += int(k.suffix)
		prev = size
	}
	n.suffixes = c.bytes("key suffixes", total)
	if c.err != nil {
		return
	}
	var key []byte
	for i, at := 0, 0; i < count; i++ {
		k := n.keys[i]
		suffix := n.suffixes[at : at+int(k.suffix)]
		at += len(suffix)
		if i > 0 && bytes.Compare(key[k.prefix:], suffix) >= 0 {
			c.fail("key %d does not ascend", i)
			return
		}
		key = append(key[:k.prefix], suffix...)
	}
}

// readValues takes the columns of a leaf's values.
func (n *node) readValues(c *cursor, count int) {
	if c.err != nil {
		return
	}
	n.refs = make([]location, count)
	for i := range n.refs {
		n.refs[i].length = int64(c.uvarint("value length", math.MaxInt64))
	}
	kinds := c.bytes("value kinds", count)
	var at int64
	for i, kind := range kinds {
		l := &n.refs[i]
		switch kind {
		case 0:
			if l.length > maxInline {
				c.fail("value %d: inline length %d exceeds the limit of %d", i, l.length, maxInline)
			}
			l.file, l.offset = inline, at
			at += l.length
		case 1:
		default:
			c.fail("value %d: kind %d, only 0 (inline) and 1 (out of line) are known", i, kind)
		}
		if c.err != nil {
			return
		}
	}
	for i := range n.refs {
		if n.refs[i].file != inline {
			n.refs[i].file = readFileIndex(c, n.files)
		}
	}
	for i := range n.refs {
		if l := &n.refs[i]; l.file != inline {
			l.offset = int64(c.uvarint("value offset", uint64(math.MaxInt64-l.length)))
		}
	}
	n.inline = c.bytes("inline values", int(min(at, math.MaxInt)))
}

// readRefs takes n references. Each must refer to a file.
func readRefs(c *cursor, files []dataFile, n int) []location {
	if c.err != nil {
		return nil
	}
	refs := make([]location, n)
	for i := range refs {
		refs[i].file = readFileIndex(c, files)
	}
	for i := range refs {
		refs[i].offset = int64(c.uvarint("offset", math.MaxInt64))
	}
	for i := range refs {
		refs[i].length = int64(c.uvarint("length", uint64(math.MaxInt64-refs[i].offset)))
	}
	return refs
}

func readFileIndex(c *cursor, files []dataFile) int {
	i := c.uvarint("data file index", math.MaxInt64)
	switch {
	case c.err != nil:
		return 0
	case i >= uint64(len(files)):
		c.fail("data file index %d is outside the table of %d files", i, len(files))
		return 0
	case files[i].path == "":
		c.fail("data file %d has an empty path", i)
		return 0
	}
	return int(i)
}

// readStats takes the statistics of n subtrees and returns the last.
func readStats(c *cursor, n int) (s Stats) {
	for range n {
		s.Keys = c.uvarint("number of keys", math.MaxUint64)
	}
	for range n {
		s.TreeBytes = c.uvarint("number of tree bytes", math.MaxUint64)
	}
	for range n {
		s.ValueBytes = c.uvarint("number of indirect value bytes", math.MaxUint64)
	}
	return s
}
