package ocdbt

import (
	"io/fs"
	"math"
	"strings"
)

// Ref is a range of bytes in a file of the database.
type Ref struct {
	File   string // path relative to the root of the database, with slashes
	Offset int64
	Length int64
}

// Value is the value of a key. If the tree itself contains the value, Inline holds it and
// Ref is zero; otherwise Ref refers to it. The format has no checksum of the bytes that a
// Ref refers to.
type Value struct {
	Inline []byte
	Ref    Ref
}

// IsInline reports whether Inline holds the value; otherwise Ref refers to it.
func (v Value) IsInline() bool { return v.Ref.File == "" }

// Len returns the length of the value in bytes.
func (v Value) Len() int64 {
	if v.IsInline() {
		return int64(len(v.Inline))
	}
	return v.Ref.Length
}

// Entry is a key with its value.
type Entry struct {
	Key   string
	Value Value
}

// Limits of the format.
const (
	maxKeyLength   = math.MaxUint16
	maxPathLength  = math.MaxUint16
	maxInline      = 1 << 20 // length of an inline value in bytes
	maxNodeEntries = 1 << 20
)

// validPath reports whether name, joined to a root, stays inside that root.
func validPath(name string) bool {
	return name != "." && fs.ValidPath(name) && strings.IndexByte(name, 0) < 0
}
