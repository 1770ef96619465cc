package ocdbt

import (
	"io/fs"
	"math"
	"strings"
)

// Ref names a range of bytes in a file of the database.
type Ref struct {
	File   string // path relative to the root of the database, with slashes
	Offset int64
	Length int64
}

// Value is the value of a key. It lies either in the tree itself, then Inline
// holds it and Ref is zero, or elsewhere, then Ref says where. The format keeps
// no checksum of bytes that lie elsewhere.
type Value struct {
	Inline []byte
	Ref    Ref
}

// IsInline reports whether the value is held by Inline; otherwise Ref refers to
// it.
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
	maxInline      = 1 << 20 // bytes of an inline value
	maxNodeEntries = 1 << 20
)

// validPath reports whether name may be joined to a root without leaving it.
func validPath(name string) bool {
	return name != "." && fs.ValidPath(name) && strings.IndexByte(name, 0) < 0
}
