package ocdbt

import (
	"encoding/binary"
	"fmt"
)

// cursor takes fields from the front of b. After the first failure, which err keeps, it
// returns zeros. Callers check err before they use the fields. A "varint" of the format
// is a uvarint of encoding/binary.
type cursor struct {
	b   []byte
	err error
}

func (c *cursor) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
	c.b = nil
}

// bytes takes n bytes without a copy. Here and in the other methods, field names the
// bytes in an error.
func (c *cursor) bytes(field string, n int) []byte {
	if n > len(c.b) {
		c.fail("%s: %d bytes needed, %d left", field, n, len(c.b))
		return nil
	}
	b := c.b[:n:n]
	c.b = c.b[n:]
	return b
}

func (c *cursor) uint8(field string) uint8 {
	if len(c.b) == 0 {
		c.fail("%s: no bytes left", field)
		return 0
	}
	v := c.b[0]
	c.b = c.b[1:]
	return v
}

func (c *cursor) uint32(field string) uint32 {
	if b := c.bytes(field, 4); c.err == nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (c *cursor) uint64(field string) uint64 {
	if b := c.bytes(field, 8); c.err == nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// uvarint takes an integer of at most limit.
func (c *cursor) uvarint(field string, limit uint64) uint64 {
	v, n := binary.Uvarint(c.b)
	switch {
	case n == 0:
		c.fail("%s: incomplete varint", field)
		return 0
	case n < 0:
		c.fail("%s: varint exceeds 64 bits", field)
		return 0
	case v > limit:
		c.fail("%s: %d exceeds the limit of %d", field, v, limit)
		return 0
	}
	c.b = c.b[n:]
	return v
}

// count takes the number of items that follow. Each takes at least size bytes; a first
// item may take one byte less. The input therefore bounds the memory that the caller
// allocates for them.
func (c *cursor) count(field string, limit uint64, size int) int {
	n := c.uvarint(field, limit)
	if n > (uint64(len(c.b))+1)/uint64(size) {
		c.fail("%s: %d cannot fit in the %d bytes left", field, n, len(c.b))
		return 0
	}
	return int(n)
}

// end checks that no bytes are left.
func (c *cursor) end() error {
	if c.err == nil && len(c.b) > 0 {
		c.fail("%d bytes left over after the last field", len(c.b))
	}
	return c.err
}
