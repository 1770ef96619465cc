// Package reuse chooses the bytes that a save shares with an earlier save. It has the
// fingerprints of chunks, the record of the chunks of a save, and the choice among its
// data files.
package reuse

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"strings"

	"github.com/go-orbax/orbax/internal/binscan"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/places"
)

// Record lists the chunks in the data files of a save, with the fingerprint of each. As a
// file it is
//
//	the line recordMagic
//	key of the fingerprints           16 bytes
//	number of encodings, and each     32 bytes
//	number of files, and for each
//	  its name                        32 hexadecimal digits, in the directory d
//	  its age
//	  number of chunks, and for each
//	    number of its encoding
//	    fingerprint                   16 bytes
//	    offset and length
//	    seal                      4 bytes
//	SHA-256 of all that               32 bytes
//
// Numbers are varints of encoding/binary. Records of an earlier version have no seals.
type Record struct {
	Key      [KeySize]byte
	Files    []File
	Unsealed bool
}

// File is a data file of a [Record].
type File struct {
	Name   string // relative to the pytree's directory
	Age    int    // number of saves that have shared it, without the save that wrote it
	Chunks []Chunk
}

// Chunk says where a chunk lies. Each chunk occurs once in a record.
type Chunk struct {
	ID             ID
	Offset, Length int64
	Seal           places.Seal
}

const (
	recordMagic   = layout.ChunksHeader + "2\n"
	unsealedMagic = layout.ChunksHeader + "1\n"
)

// These are the smallest numbers of bytes that a file and a chunk take in a record.
const (
	leastFileEntry  = 2*dataNameBytes + 2
	leastChunkEntry = 1 + len(Fingerprint{}) + 1 + 1
)

// dataNameBytes is the number of random bytes in the name of a data file.
const dataNameBytes = 16

// Document returns the record in the form of its file.
func (r *Record) Document() []byte {
	b := append([]byte(recordMagic), r.Key[:]...)
	number := map[EncodingID]int{}
	var encodings []byte
	for _, f := range r.Files {
		for _, c := range f.Chunks {
			if _, ok := number[c.ID.Encoding]; !ok {
				number[c.ID.Encoding] = len(number)
				encodings = append(encodings, c.ID.Encoding[:]...)
			}
		}
	}
	b = binary.AppendUvarint(b, uint64(len(number)))
	b = append(b, encodings...)
	b = binary.AppendUvarint(b, uint64(len(r.Files)))
	for _, f := range r.Files {
		b = append(b, strings.TrimPrefix(f.Name, layout.DataDir+"/")...)
		b = binary.AppendUvarint(b, uint64(f.Age))
		b = binary.AppendUvarint(b, uint64(len(f.Chunks)))
		for _, c := range f.Chunks {
			b = binary.AppendUvarint(b, uint64(number[c.ID.Encoding]))
			b = append(b, c.ID.Content[:]...)
			b = binary.AppendUvarint(b, uint64(c.Offset))
			b = binary.AppendUvarint(b, uint64(c.Length))
			b = append(b, c.Seal[:]...)
		}
	}
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// Parse parses a record. The error matches ErrUnsupported if doc may be a record of a
// later version, and ErrCorrupt if it is no record.
func Parse(doc []byte) (*Record, error) {
	r := &Record{Unsealed: bytes.HasPrefix(doc, []byte(unsealedMagic))}
	if !bytes.HasPrefix(doc, []byte(recordMagic)) && !r.Unsealed {
		return nil, fmt.Errorf("%w: it begins with %.20q, not with %q", fault.ErrUnsupported, doc, recordMagic)
	}
	at := len(doc) - sha256.Size
	if at < len(recordMagic) {
		return nil, fmt.Errorf("%w: %d bytes", fault.ErrCorrupt, len(doc))
	}
	if sha256.Sum256(doc[:at]) != [sha256.Size]byte(doc[at:]) {
		return nil, fmt.Errorf("%w: it does not match its own checksum", fault.ErrCorrupt)
	}
	p := binscan.Parser{Rest: doc[len(recordMagic):at]}
	copy(r.Key[:], p.Take(KeySize))
	encodings := make([]EncodingID, p.Count(len(EncodingID{})))
	for i := range encodings {
		copy(encodings[i][:], p.Take(len(EncodingID{})))
	}
	seen := map[ID]bool{}
	names := map[string]bool{}
	r.Files = make([]File, p.Count(leastFileEntry))
	for i := range r.Files {
		f := &r.Files[i]
		f.Name = dataFile(&p)
		p.Check(!names[f.Name], "a file occurs twice")
		names[f.Name] = true
		f.Age = int(p.Number(math.MaxInt32))
		f.Chunks = make([]Chunk, p.Count(leastChunkEntry))
		for j := range f.Chunks {
			c := &f.Chunks[j]
			if n := p.Number(math.MaxInt32); p.Check(n < int64(len(encodings)), "a form that is not there") {
				c.ID.Encoding = encodings[n]
			}
			copy(c.ID.Content[:], p.Take(len(c.ID.Content)))
			c.Offset = p.Number(math.MaxInt64)
			c.Length = p.Number(math.MaxInt64 - c.Offset)
			if !r.Unsealed {
				copy(c.Seal[:], p.Take(places.SealSize))
			}
			p.Check(!seen[c.ID], "a chunk occurs twice")
			seen[c.ID] = true
			if p.Err != nil {
				return nil, p.Err
			}
		}
	}
	p.Check(len(p.Rest) == 0, "more follows")
	if p.Err != nil {
		return nil, p.Err
	}
	return r, nil
}

// dataFile parses the name of a data file.
func dataFile(p *binscan.Parser) string {
	digits := p.Take(2 * dataNameBytes)
	var id [dataNameBytes]byte
	_, err := hex.Decode(id[:], digits)
	p.Check(err == nil, "the name of a data file")
	return layout.DataDir + "/" + hex.EncodeToString(id[:])
}
