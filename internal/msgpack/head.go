// Package msgpack reads files in MessagePack value by value. It reads the heads of values
// and short contents. Long contents stay in the file, and the reader reports their place.
package msgpack

import (
	"encoding/binary"
	"math"
)

// Kind is the type of a value.
type Kind uint8

// These are the kinds of values.
const (
	Invalid Kind = iota
	Nil
	Bool
	Int  // a negative number
	Uint // any other whole number
	Float
	String
	Binary
	Array
	Map
	Ext
)

var kindNames = [...]string{"invalid", "nil", "bool", "int", "int", "float", "str", "bin", "array", "map", "ext"}

// String returns the name of the kind in the specification of MessagePack.
func (k Kind) String() string {
	if int(k) >= len(kindNames) {
		return kindNames[Invalid]
	}
	return kindNames[k]
}

// Head is the beginning of a value. For a number, a bool or nil it is the whole value.
type Head struct {
	Kind Kind
	// Bits is a Bool as 0 or 1, an Int in two's complement, a Uint, or a Float as an
	// IEEE 754 double.
	Bits uint64
	// Len is the number of bytes of a String, Binary or Ext that follow, the number of
	// values of an Array, or the number of pairs of a Map.
	Len int64
	// Ext is the type of an Ext.
	Ext int8
}

// maxHead is the size of the longest head.
const maxHead = 9

// ParseHead parses the head at the beginning of b and returns its length in bytes, or 0
// if b is too short for it. If the first byte begins no value, the Kind is [Invalid].
func ParseHead(b []byte) (h Head, n int) {
	if len(b) == 0 {
		return Head{}, 0
	}
	switch c := b[0]; {
	case c < 0x80:
		return Head{Kind: Uint, Bits: uint64(c)}, 1
	case c < 0x90:
		return Head{Kind: Map, Len: int64(c & 0x0f)}, 1
	case c < 0xa0:
		return Head{Kind: Array, Len: int64(c & 0x0f)}, 1
	case c < 0xc0:
		return Head{Kind: String, Len: int64(c & 0x1f)}, 1
	case c >= 0xe0:
		return Head{Kind: Int, Bits: uint64(int64(int8(c)))}, 1
	}
	f := forms[b[0]-0xc0]
	n = 1 + int(f.width)
	if f.kind == Ext {
		n++
	}
	if len(b) < n {
		return Head{}, 0
	}
	return f.parse(b), n
}

// form is the meaning of one of the bytes 0xc0 to 0xdf: how the head continues.
type form struct {
	kind  Kind
	width int8  // of the number that follows, in bytes
	fixed int64 // of a form without a number: the value of a bool, or the length
}

var forms = [32]form{
	{kind: Nil}, {}, {kind: Bool}, {kind: Bool, fixed: 1},
	{kind: Binary, width: 1}, {kind: Binary, width: 2}, {kind: Binary, width: 4},
	{kind: Ext, width: 1}, {kind: Ext, width: 2}, {kind: Ext, width: 4},
	{kind: Float, width: 4}, {kind: Float, width: 8},
	{kind: Uint, width: 1}, {kind: Uint, width: 2}, {kind: Uint, width: 4}, {kind: Uint, width: 8},
	{kind: Int, width: 1}, {kind: Int, width: 2}, {kind: Int, width: 4}, {kind: Int, width: 8},
	{kind: Ext, fixed: 1}, {kind: Ext, fixed: 2}, {kind: Ext, fixed: 4}, {kind: Ext, fixed: 8}, {kind: Ext, fixed: 16},
	{kind: String, width: 1}, {kind: String, width: 2}, {kind: String, width: 4},
	{kind: Array, width: 2}, {kind: Array, width: 4},
	{kind: Map, width: 2}, {kind: Map, width: 4},
}

// parse parses a complete head of the form.
func (f form) parse(b []byte) Head {
	var number uint64
	switch f.width {
	case 0:
		number = uint64(f.fixed)
	case 1:
		number = uint64(b[1])
	case 2:
		number = uint64(binary.BigEndian.Uint16(b[1:]))
	case 4:
		number = uint64(binary.BigEndian.Uint32(b[1:]))
	case 8:
		number = binary.BigEndian.Uint64(b[1:])
	}
	h := Head{Kind: f.kind}
	switch f.kind {
	case Bool, Uint:
		h.Bits = number
	case Int:
		unused := 64 - 8*int(f.width)
		h.Bits = uint64(int64(number<<unused) >> unused)
		if int64(h.Bits) >= 0 {
			h.Kind = Uint
		}
	case Float:
		h.Bits = number
		if f.width == 4 {
			h.Bits = math.Float64bits(float64(math.Float32frombits(uint32(number))))
		}
	case Ext:
		h.Len, h.Ext = int64(number), int8(b[1+f.width])
	default:
		h.Len = int64(number)
	}
	return h
}
