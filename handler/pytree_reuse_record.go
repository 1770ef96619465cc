package handler

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
)

// record says which content the chunks in a save's data files have. As a file it is
//
//	the line recordMagic
//	key of the fingerprints           16 bytes
//	number of forms, and each         32 bytes
//	number of files, and of each
//	  its name                        32 hexadecimal digits, in the directory d
//	  its age
//	  number of chunks, and of each
//	    number of its form
//	    fingerprint                   16 bytes
//	    offset and length
//	    seal                      4 bytes
//	SHA-256 of all that               32 bytes
//
// with numbers as varints of encoding/binary. Records of before had no seals.
type record struct {
	key      [keySize]byte
	files    []recordFile
	unsealed bool
}

// recordFile is a data file.
type recordFile struct {
	name   string // relative to the pytree's directory
	age    int    // how many saves have shared it, after the one that wrote it
	chunks []recordChunk
}

// recordChunk is where a chunk lies. Each occurs once in a record.
type recordChunk struct {
	id             chunkID
	offset, length int64
	seal           seal
}

const (
	recordMagic   = layout.ChunksHeader + "2\n"
	unsealedMagic = layout.ChunksHeader + "1\n"
)

// The least that a file and a chunk take in a record.
const (
	leastFileEntry  = 2*dataNameBytes + 2
	leastChunkEntry = 1 + len(fingerprint{}) + 1 + 1
)

// dataNameBytes is what the name of a data file is made of.
const dataNameBytes = 16

// document returns the record as a file.
func (r *record) document() []byte {
	b := append([]byte(recordMagic), r.key[:]...)
	number := map[formID]int{}
	var forms []byte
	for _, f := range r.files {
		for _, c := range f.chunks {
			if _, ok := number[c.id.form]; !ok {
				number[c.id.form] = len(number)
				forms = append(forms, c.id.form[:]...)
			}
		}
	}
	b = binary.AppendUvarint(b, uint64(len(number)))
	b = append(b, forms...)
	b = binary.AppendUvarint(b, uint64(len(r.files)))
	for _, f := range r.files {
		b = append(b, strings.TrimPrefix(f.name, layout.DataDir+"/")...)
		b = binary.AppendUvarint(b, uint64(f.age))
		b = binary.AppendUvarint(b, uint64(len(f.chunks)))
		for _, c := range f.chunks {
			b = binary.AppendUvarint(b, uint64(number[c.id.form]))
			b = append(b, c.id.content[:]...)
			b = binary.AppendUvarint(b, uint64(c.offset))
			b = binary.AppendUvarint(b, uint64(c.length))
			b = append(b, c.seal[:]...)
		}
	}
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// parseRecord parses a record. What is no record is an error that matches ErrCorrupt,
// or ErrUnsupported if it may be one of a later version.
func parseRecord(doc []byte) (*record, error) {
	r := &record{unsealed: bytes.HasPrefix(doc, []byte(unsealedMagic))}
	if !bytes.HasPrefix(doc, []byte(recordMagic)) && !r.unsealed {
		return nil, fmt.Errorf("%w: it begins with %.20q, not with %q", fault.ErrUnsupported, doc, recordMagic)
	}
	at := len(doc) - sha256.Size
	if at < len(recordMagic) {
		return nil, fmt.Errorf("%w: %d bytes", fault.ErrCorrupt, len(doc))
	}
	if sha256.Sum256(doc[:at]) != [sha256.Size]byte(doc[at:]) {
		return nil, fmt.Errorf("%w: it does not match its own checksum", fault.ErrCorrupt)
	}
	p := recordParser{rest: doc[len(recordMagic):at]}
	copy(r.key[:], p.take(keySize))
	forms := make([]formID, p.count(len(formID{})))
	for i := range forms {
		copy(forms[i][:], p.take(len(formID{})))
	}
	seen := map[chunkID]bool{}
	names := map[string]bool{}
	r.files = make([]recordFile, p.count(leastFileEntry))
	for i := range r.files {
		f := &r.files[i]
		f.name = p.dataFile()
		p.check(!names[f.name], "a file occurs twice")
		names[f.name] = true
		f.age = int(p.number(math.MaxInt32))
		f.chunks = make([]recordChunk, p.count(leastChunkEntry))
		for j := range f.chunks {
			c := &f.chunks[j]
			if n := p.number(math.MaxInt32); p.check(n < int64(len(forms)), "a form that is not there") {
				c.id.form = forms[n]
			}
			copy(c.id.content[:], p.take(len(c.id.content)))
			c.offset = p.number(math.MaxInt64)
			c.length = p.number(math.MaxInt64 - c.offset)
			if !r.unsealed {
				copy(c.seal[:], p.take(sealSize))
			}
			p.check(!seen[c.id], "a chunk occurs twice")
			seen[c.id] = true
			if p.err != nil {
				return nil, p.err
			}
		}
	}
	p.check(len(p.rest) == 0, "more follows")
	if p.err != nil {
		return nil, p.err
	}
	return r, nil
}

// recordParser takes a record apart, up to the first thing that is wrong.
type recordParser struct {
	rest []byte
	err  error
}

// check notes an error unless ok, and reports whether there is none.
func (p *recordParser) check(ok bool, problem string) bool {
	if !ok && p.err == nil {
		p.err = fmt.Errorf("%w: %s", fault.ErrCorrupt, problem)
		p.rest = nil
	}
	return p.err == nil
}

// take returns the next n bytes, none if there are not as many.
func (p *recordParser) take(n int) []byte {
	if !p.check(n <= len(p.rest), "it ends too soon") {
		return nil
	}
	b := p.rest[:n]
	p.rest = p.rest[n:]
	return b
}

// number returns the next number, 0 if it is more than limit.
func (p *recordParser) number(limit int64) int64 {
	v, n := binary.Uvarint(p.rest)
	if !p.check(n > 0 && v <= uint64(limit), "a number that cannot be") {
		return 0
	}
	p.rest = p.rest[n:]
	return int64(v)
}

// count returns the next number, of things that take at least so many bytes each.
func (p *recordParser) count(least int) int {
	return int(p.number(int64(len(p.rest) / least)))
}

// dataFile returns the name of a data file.
func (p *recordParser) dataFile() string {
	digits := p.take(2 * dataNameBytes)
	var id [dataNameBytes]byte
	_, err := hex.Decode(id[:], digits)
	p.check(err == nil, "the name of a data file")
	return layout.DataDir + "/" + hex.EncodeToString(id[:])
}
