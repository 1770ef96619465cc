package gcs

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// crcOf returns the CRC32C of buffers one after the other.
func crcOf(bufs [][]byte) (crc uint32) {
	for _, buf := range bufs {
		crc = crc32.Update(crc, castagnoli, buf)
	}
	return crc
}

// crcText returns a CRC32C as the service writes it.
func crcText(crc uint32) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc))
}

// joinCRC returns the CRC32C of bytes with the CRC first, followed by n bytes with the CRC
// second.
func joinCRC(first, second uint32, n int64) uint32 {
	// Both CRCs are remainders of polynomials over GF(2), with all bits of the register
	// inverted before and after. The inversions cancel each other out, so that the result is
	// the first CRC times x^(8n), plus the second.
	return timesPolynomial(first, powerOfX(uint64(n)*8)) ^ second
}

// The polynomials of CRCs have their term of degree 0 in the highest bit.
const one = 1 << 31

// timesPolynomial multiplies two polynomials, modulo that of the CRC.
func timesPolynomial(a, b uint32) (product uint32) {
	for ; a != 0; a <<= 1 {
		if a&one != 0 {
			product ^= b
		}
		b = timesX(b)
	}
	return product
}

func timesX(p uint32) uint32 {
	if p&1 != 0 {
		return p>>1 ^ crc32.Castagnoli
	}
	return p >> 1
}

// powerOfX returns x^n, modulo the polynomial of the CRC.
func powerOfX(n uint64) uint32 {
	power, square := uint32(one), uint32(one>>1)
	for ; n > 0; n >>= 1 {
		if n&1 != 0 {
			power = timesPolynomial(power, square)
		}
		square = timesPolynomial(square, square)
	}
	return power
}
