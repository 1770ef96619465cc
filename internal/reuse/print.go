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
// A fingerprint is a GMAC: AES-GCM's tag of the chunk as additional data, for one fixed
// nonce. The processor's instructions for AES make that several times as fast as SHA-256.
// Under one nonce the tag is a universal hash, GHASH, plus a constant that depends on the
// key only: the difference of the hashes of two chunks is a polynomial in a secret that
// the key determines, with a degree of at most the number of 16-byte blocks plus one. So
// for any two different chunks of n blocks that do not depend on the key, no more than
// n+1 of 2^128 secrets give equal fingerprints. For chunks of 8 MiB the chance is 2^-109
// for each pair. Among 2^20 such chunks, 8 TiB, the chance that any two are confused is
// 2^-70.
//
// A nonce must not be used twice if the key has to stay secret. Here the key is no
// secret: it lies beside the data, and whoever can read it can make two chunks with the
// same fingerprint. The states of a run do not do that.
type Printer struct {
	Key  [KeySize]byte
	aead cipher.AEAD
}

// KeySize is the number of bytes of the key of a [Printer].
const KeySize = 16

// Fingerprint identifies the contents of a chunk.
type Fingerprint [16]byte

// NewPrinter returns a [Printer] with the given key. It fails only where the use of GCM
// is restricted, as by GODEBUG=fips140=only.
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

// ID identifies the contents and the encoding of a chunk. Two chunks with equal IDs are
// stored as the same bytes, or as different bytes that decode to the same elements.
type ID struct {
	Encoding EncodingID
	Content  Fingerprint // in the source's dtype, with the padding of edge chunks
}

// EncodingID is the SHA-256 of an [Encoding]. It covers the array's dtype in memory, and
// its document, which gives the codecs, shape and dtype of the chunks.
type EncodingID [sha256.Size]byte

// Encoding is how the chunks of an array are encoded. Arrays of one encoding share their
// metadata.
type Encoding struct {
	DType array.DType
	Zarr  *zarr.Metadata
}

// ID returns the ID of the encoding.
func (f Encoding) ID() EncodingID {
	return sha256.Sum256(fmt.Appendf(nil, "%v\n%s", f.DType, f.Zarr.Document()))
}
