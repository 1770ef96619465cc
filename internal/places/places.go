// Package places records the place of each chunk of a pytree and checks the places of
// chunks that are loaded. It reads and writes no files.
package places

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/internal/binscan"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
)

// The checksum of a chunk proves that the chunk is whole. It does not prove that the
// chunk is in its place: a file of another step may have been copied over a file of this
// step, or two chunks exchanged. So a save records the checksum of each chunk with its
// place, and a load compares the two when it decodes the chunk. The record is a file of
// the pytree, and the digests of the checkpoint cover it:
//
//	the line magic
//	number of arrays, and for each, in the order of their names
//	  length of its name, and the name
//	  number of its chunks, and for each, in the order of the grid
//	    its seal          4 bytes
//
// Numbers are varints of encoding/binary.
const magic = layout.PlacesHeader + "1\n"

// Seal is the last four bytes of a stored chunk: the checksum of its contents. Every
// chunk that this module writes ends with a checksum, either a CRC-32C or that of a zstd
// frame. Equal contents that are encoded in the same way have equal seals.
type Seal [SealSize]byte

// SealSize is the number of bytes of a [Seal].
const SealSize = 4

// SealOf returns the seal of an encoded chunk.
func SealOf(enc []byte) (s Seal) {
	copy(s[:], enc[max(0, len(enc)-SealSize):])
	return s
}

// Document returns the record of the arrays called names, in any order, with the seals of
// each.
func Document(names []string, seals [][]Seal) []byte {
	order := make([]int, len(names))
	size := len(magic) + binary.MaxVarintLen64
	for i := range order {
		order[i] = i
		size += 2*binary.MaxVarintLen32 + len(names[i]) + SealSize*len(seals[i])
	}
	slices.SortFunc(order, func(i, j int) int { return strings.Compare(names[i], names[j]) })
	b := append(make([]byte, 0, size), magic...)
	b = binary.AppendUvarint(b, uint64(len(names)))
	for _, i := range order {
		b = binary.AppendUvarint(b, uint64(len(names[i])))
		b = append(b, names[i]...)
		b = binary.AppendUvarint(b, uint64(len(seals[i])))
		for _, s := range seals[i] {
			b = append(b, s[:]...)
		}
	}
	return b
}

// Places holds the seals of the arrays of a stored pytree. A nil *Places has none.
type Places struct {
	Arrays []Array // in the order of their names
	// All means that the pytree has no arrays except these.
	All bool
}

// Array holds the seals of one array.
type Array struct {
	Name  string
	Seals string // of its chunks, one after the other
}

// leastPlaced is the smallest number of bytes that an array takes in a record.
const leastPlaced = 2

// Parse parses a record. The arrays share one copy of the record's bytes.
func Parse(doc []byte) ([]Array, error) {
	if !bytes.HasPrefix(doc, []byte(magic)) {
		return nil, fmt.Errorf("%w: it begins with %.20q, not with %q", fault.ErrUnsupported, doc, magic)
	}
	text := string(doc)
	p := binscan.Parser{Rest: doc[len(magic):]}
	take := func(n int64) string {
		at := len(doc) - len(p.Rest)
		return text[at:][:len(p.Take(int(n)))]
	}
	arrays := make([]Array, p.Count(leastPlaced))
	for i := range arrays {
		a := &arrays[i]
		a.Name = take(p.Number(int64(len(p.Rest))))
		a.Seals = take(SealSize * p.Number(int64(len(p.Rest)/SealSize)))
		if !p.Check(i == 0 || arrays[i-1].Name < a.Name, "the arrays are not in order") {
			return nil, p.Err
		}
	}
	p.Check(len(p.Rest) == 0, "more follows")
	return arrays, p.Err
}

// Of returns the seals of an array that has n chunks. They are "" if they are not known.
func (p *Places) Of(name string, n int) (seals string, err error) {
	if p == nil {
		return "", nil
	}
	i, ok := slices.BinarySearchFunc(p.Arrays, name, func(a Array, name string) int { return strings.Compare(a.Name, name) })
	switch {
	case !ok && p.All:
		return "", fmt.Errorf("%w: the array is not in %s", fault.ErrCorrupt, layout.PlacesFile)
	case !ok:
		return "", nil
	}
	if saved := len(p.Arrays[i].Seals) / SealSize; saved != n {
		return "", fmt.Errorf("%w: the array was saved in %d chunks, by its record in %s, and has %d", fault.ErrCorrupt, saved, layout.PlacesFile, n)
	}
	return p.Arrays[i].Seals, nil
}

// CheckSeal compares the seal of a stored chunk with want, the recorded seal of its
// place. enc is the chunk or the end of it. If want is "", the seal is not known and
// nothing is compared.
func CheckSeal(enc []byte, want string) error {
	if got := SealOf(enc); want != "" && string(got[:]) != want {
		return fmt.Errorf("%w: this is the data of another chunk, or of another save: its checksum, %08x, is right, but the chunk that was saved here had %08x",
			fault.ErrCorrupt, binary.LittleEndian.Uint32(got[:]), binary.LittleEndian.Uint32([]byte(want)))
	}
	return nil
}
