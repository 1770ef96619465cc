package handler

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"fmt"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/zarr"
)

// printer computes fingerprints of chunks under a key.
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
type printer struct {
	key  [keySize]byte
	aead cipher.AEAD
}

const keySize = 16

// fingerprint tells the contents of chunks apart.
type fingerprint [16]byte

// newPrinter fails only where the use of GCM is restricted, as by GODEBUG=fips140=only.
func newPrinter(key [keySize]byte) (*printer, error) {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &printer{key, aead}, nil
}

var nonce [12]byte

func (p *printer) of(chunk []byte) fingerprint {
	var tag [16]byte
	return fingerprint(p.aead.Seal(tag[:0], nonce[:], nil, chunk))
}

// chunkID is what decides the bytes of a stored chunk: two chunks of one ID are
// stored as the same bytes, or as different ones that decode to the same.
type chunkID struct {
	form    formID
	content fingerprint // in the source's dtype, with the padding of edge chunks
}

// formID is the SHA-256 of an array's dtype in memory and of its document, which
// says how chunks are encoded, of what shape and dtype.
type formID [sha256.Size]byte

// sourceForm is what a formID is of; arrays of one form share its metadata.
type sourceForm struct {
	dtype array.DType
	zarr  *zarr.Metadata
}

func (f sourceForm) id() formID {
	return sha256.Sum256(fmt.Appendf(nil, "%v\n%s", f.dtype, f.zarr.Document()))
}

// prints are the fingerprints of a plan's chunks.
type prints struct {
	forms    []formID        // of the arrays
	contents [][]fingerprint // of their chunks, in order; nil for an array that has none
}

// id returns the ID of chunk n of an array, if it has a fingerprint.
func (p *prints) id(array, n int) (id chunkID, ok bool) {
	if n >= len(p.contents[array]) {
		return id, false
	}
	return chunkID{p.forms[array], p.contents[array][n]}, true
}

// wanted returns the IDs of all chunks.
func (p *prints) wanted() map[chunkID]bool {
	ids := map[chunkID]bool{}
	for i, contents := range p.contents {
		for _, c := range contents {
			ids[chunkID{p.forms[i], c}] = true
		}
	}
	return ids
}

// printable reports whether the chunks of the array get fingerprints.
func (a *saveArray) printable() bool {
	_, ok := a.src.(*array.Array)
	return ok && a.zarr.EncodedBound() > maxInline
}

// fingerprint computes the fingerprints of the plan's chunks.
func (p *savePlan) fingerprint(ctx context.Context, e *transfer.Engine, print *printer) (*prints, error) {
	all := &prints{make([]formID, len(p.arrays)), make([][]fingerprint, len(p.arrays))}
	tied := p.tied()
	forms := map[sourceForm]formID{}
	for i := range p.arrays {
		a := &p.arrays[i]
		if !a.printable() {
			continue
		}
		if first := tied[i]; first != i {
			all.forms[i], all.contents[i] = all.forms[first], all.contents[first]
			continue
		}
		form := sourceForm{a.src.DType(), a.zarr}
		if _, ok := forms[form]; !ok {
			forms[form] = form.id()
		}
		all.forms[i] = forms[form]
		all.contents[i] = make([]fingerprint, a.zarr.NumChunks())
	}
	type job struct {
		array *saveArray
		index []int
		to    *fingerprint
	}
	jobs := func(yield func(job) bool) {
		for i, contents := range all.contents {
			if contents == nil || tied[i] != i {
				continue
			}
			n := 0
			for index := range p.arrays[i].zarr.Chunks() {
				if !yield(job{&p.arrays[i], index, &contents[n]}) {
					return
				}
				n++
			}
		}
	}
	e.Counters().Begin(transfer.Digesting, 0)
	need := func(j job) int64 {
		if j.array.inMemory(j.array.zarr.ChunkRegion(j.index)) != nil {
			return 0
		}
		return int64(j.array.sourceBytes())
	}
	return all, transfer.Each(ctx, e, jobs, need, func(ctx context.Context, j job, memory []byte) error {
		off, size := j.array.zarr.ChunkRegion(j.index)
		chunk := j.array.inMemory(off, size)
		if chunk == nil {
			chunk = memory
			if err := j.array.gather(ctx, chunk, off, size); err != nil {
				return fault.OfLeaf(j.array.name, err)
			}
		}
		*j.to = print.of(chunk)
		return nil
	})
}
