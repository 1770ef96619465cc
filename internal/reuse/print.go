package reuse

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"fmt"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/zarr"
)

// Printer computes fingerprints of chunks under a key.
//
// A fingerprint is a GMAC: AES-GCM's tag of the chunk as additional data, for one
// fixed nonce. The processor's instructions for AES make that several times as
// fast as SHA-256. Under one nonce the tag is a universal hash, GHASH, plus a
// constant of the key: the difference of the hashes of two chunks is a polynomial
// in a secret of the key, with a degree of at most the number of 16-byte blocks
// plus one. So for any two different chunks of n blocks, which do not depend on
// the key, no more than n+1 of 2^128 secrets make them equal. Of chunks of 8 MiB
// that is 2^-109 a pair, and of 2^20 such chunks, 8 TiB, 2^-70 that any two are
// taken for the same.
//
// That a nonce must not be used twice is a rule for those who must not learn the
// key. It is no secret here: it lies beside the data, and who can read it can make
// two chunks of one fingerprint. A run's own states do not do that.
type Printer struct {
	Key  [KeySize]byte
	aead cipher.AEAD
}

// KeySize is the number of bytes of the key of a [Printer].
const KeySize = 16

// Fingerprint tells the contents of chunks apart.
type Fingerprint [16]byte

// NewPrinter fails only where the use of GCM is restricted, as by GODEBUG=fips140=only.
func NewPrinter(key [KeySize]byte) (*Printer, error) {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &Printer{key, aead}, nil
}

var nonce [12]byte

// Of returns the fingerprint of a chunk.
func (p *Printer) Of(chunk []byte) Fingerprint {
	var tag [16]byte
	return Fingerprint(p.aead.Seal(tag[:0], nonce[:], nil, chunk))
}

// ID is what decides the bytes of a stored chunk: two chunks of one ID are
// stored as the same bytes, or as different ones that decode to the same.
type ID struct {
	Encoding EncodingID
	Content  Fingerprint // in the source's dtype, with the padding of edge chunks
}

// EncodingID is the SHA-256 of an array's dtype in memory and of its document, which
// says how chunks are encoded, of what shape and dtype.
type EncodingID [sha256.Size]byte

// Encoding is what an EncodingID is of. Arrays of one encoding share their metadata.
type Encoding struct {
	DType array.DType
	Zarr  *zarr.Metadata
}

// ID returns the ID of the encoding.
func (f Encoding) ID() EncodingID {
	return sha256.Sum256(fmt.Appendf(nil, "%v\n%s", f.DType, f.Zarr.Document()))
}
