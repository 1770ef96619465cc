package zarr

import (
	"encoding/binary"
	"errors"
)

// The two LZ77 formats of blosc: its own, and LZ4. Both decoders write to dst and return
// the part that they filled.

var (
	errLZShort  = errors.New("compressed data is cut off")
	errLZLong   = errors.New("compressed data exceeds its block")
	errLZOffset = errors.New("match before the start of the data")
)

// copyMatch appends n bytes that begin offset bytes before the end of dst. They may
// overlap the appended bytes.
func copyMatch(dst []byte, offset, n int) ([]byte, error) {
	switch {
	case offset < 1 || offset > len(dst):
		return nil, errLZOffset
	case n > cap(dst)-len(dst):
		return nil, errLZLong
	}
	for n > 0 {
		// From that byte on the bytes repeat with period offset.
		k := min(n, offset)
		start := len(dst) - offset
		dst = append(dst, dst[start:start+k]...)
		n -= k
	}
	return dst, nil
}

// decodeLZ4 decodes an LZ4 block: sequences of a token, literals and a match.
// The last sequence has no match.
func decodeLZ4(dst, enc []byte) ([]byte, error) {
	dst = dst[:0:len(dst)]
	// length reads the rest of a length whose first four bits were all set.
	length := func(n int) (int, error) {
		if n < 15 {
			return n, nil
		}
		for {
			if len(enc) == 0 {
				return 0, errLZShort
			}
			b := enc[0]
			enc = enc[1:]
			if n += int(b); n > cap(dst) {
				return 0, errLZLong
			}
			if b != 255 {
				return n, nil
			}
		}
	}
	for {
		if len(enc) == 0 {
			return nil, errLZShort
		}
		token := enc[0]
		enc = enc[1:]
		n, err := length(int(token >> 4))
		switch {
		case err != nil:
			return nil, err
		case n > len(enc):
			return nil, errLZShort
		case n > cap(dst)-len(dst):
			return nil, errLZLong
		}
		dst = append(dst, enc[:n]...)
		if enc = enc[n:]; len(enc) == 0 {
			return dst, nil
		}
		if len(enc) < 2 {
			return nil, errLZShort
		}
		offset := int(binary.LittleEndian.Uint16(enc))
		enc = enc[2:]
		if n, err = length(int(token & 15)); err != nil {
			return nil, err
		}
		if dst, err = copyMatch(dst, offset, n+4); err != nil {
			return nil, err
		}
	}
}

// decodeBloscLZ decodes BloscLZ, a descendant of FastLZ. A control byte below 32 is the
// number of literals that follow, minus one. In other control bytes the upper three bits
// are the length of a match and the lower five bits the high bits of the distance. If all
// bits of the distance field are ones, a 16-bit distance follows, for matches further
// away.
func decodeBloscLZ(dst, enc []byte) ([]byte, error) {
	const farthest = 8191 // largest distance in 13 bits
	dst = dst[:0:len(dst)]
	first := true
	for len(enc) > 0 {
		control := int(enc[0])
		enc = enc[1:]
		if first { // always literals; the upper bits contain the variant
			control &= 31
			first = false
		}
		if control < 32 {
			n := control + 1
			switch {
			case n > len(enc):
				return nil, errLZShort
			case n > cap(dst)-len(dst):
				return nil, errLZLong
			}
			dst = append(dst, enc[:n]...)
			enc = enc[n:]
			continue
		}
		n := control>>5 - 1
		if n == 6 {
			for more := byte(255); more == 255; {
				if len(enc) == 0 {
					return nil, errLZShort
				}
				more = enc[0]
				enc = enc[1:]
				if n += int(more); n > cap(dst) {
					return nil, errLZLong
				}
			}
		}
		if len(enc) == 0 {
			return nil, errLZShort
		}
		distance := control&31<<8 + int(enc[0])
		enc = enc[1:]
		if distance == farthest {
			if len(enc) < 2 {
				return nil, errLZShort
			}
			distance += int(binary.BigEndian.Uint16(enc))
			enc = enc[2:]
		}
		var err error
		if dst, err = copyMatch(dst, distance+1, n+3); err != nil {
			return nil, err
		}
	}
	return dst, nil
}
