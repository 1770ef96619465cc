package handler

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/transfer"
)

// The checksum of a chunk proves that the chunk is whole. It does not prove that the chunk
// is in its place: a file of another step may have been copied over a file of this step, or
// two chunks exchanged. So a save records the checksum of each chunk with its place, and a
// load compares the two when it decodes the chunk. The record is a file of the pytree, and
// the digests of the checkpoint cover it:
//
//	the line placesMagic
//	number of arrays, and of each, in the order of their names
//	  length of its name, and the name
//	  number of its chunks, and of each, in the order of the grid
//	    its seal          4 bytes
//
// with numbers as varints of encoding/binary.
const placesMagic = layout.PlacesHeader + "1\n"

// seal is the last four bytes of a stored chunk: the checksum of its contents. All chunks
// that this package writes end with a checksum, a CRC-32C or that of a zstd frame. Equal
// contents that are stored in the same form have equal seals.
type seal [sealSize]byte

const sealSize = 4

// sealOf returns the seal of an encoded chunk.
func sealOf(enc []byte) (s seal) {
	copy(s[:], enc[max(0, len(enc)-sealSize):])
	return s
}

// sealed returns an item that encodes the same chunk and writes its seal to the variable to.
func sealed(it transfer.Item, to *seal) transfer.Item {
	encode, tail := it.Append, it.Tail
	it.Append = func(dst []byte) ([]byte, error) {
		out, err := encode(dst)
		*to = sealOf(out[min(len(dst), len(out)):])
		return out, err
	}
	if tail != nil {
		it.Tail = func(dst []byte) []byte {
			out := tail(dst)
			*to = sealOf(out)
			return out
		}
	}
	return it
}

// newSeals returns a slice for the seals of each array of the plan.
func (p *savePlan) newSeals() [][]seal {
	seals := make([][]seal, len(p.arrays))
	for i := range p.arrays {
		seals[i] = make([]seal, p.arrays[i].zarr.NumChunks())
	}
	return seals
}

// writePlaces writes the record of the arrays' seals.
func (p *savePlan) writePlaces(ctx context.Context, dir *WriteDir, seals [][]seal) error {
	name := layout.PlacesFile
	if dir.database != "" { // to be merged with other parts, which have their own
		name = layout.PlacesPrefix + randomName()
	}
	names := make([]string, len(p.arrays))
	for i := range p.arrays {
		names[i] = p.arrays[i].name
	}
	return dir.WriteFile(ctx, name, placesDocument(names, seals))
}

// placesDocument returns the record of arrays of the given names, in any order.
func placesDocument(names []string, seals [][]seal) []byte {
	order := make([]int, len(names))
	size := len(placesMagic) + binary.MaxVarintLen64
	for i := range order {
		order[i] = i
		size += 2*binary.MaxVarintLen32 + len(names[i]) + sealSize*len(seals[i])
	}
	slices.SortFunc(order, func(i, j int) int { return strings.Compare(names[i], names[j]) })
	b := append(make([]byte, 0, size), placesMagic...)
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

// places holds the seals of the arrays of a stored pytree. A nil *places has none.
type places struct {
	arrays []placedArray // in the order of their names
	// all means that the pytree has no other arrays.
	all bool
}

type placedArray struct {
	name  string
	seals string // of its chunks, one behind the other
}

// leastPlaced is the smallest number of bytes that an array takes in a record.
const leastPlaced = 2

// parsePlaces parses a record. The arrays share one copy of the record's bytes.
func parsePlaces(doc []byte) ([]placedArray, error) {
	if !bytes.HasPrefix(doc, []byte(placesMagic)) {
		return nil, fmt.Errorf("%w: it begins with %.20q, not with %q", fault.ErrUnsupported, doc, placesMagic)
	}
	text := string(doc)
	p := recordParser{rest: doc[len(placesMagic):]}
	take := func(n int64) string {
		at := len(doc) - len(p.rest)
		return text[at:][:len(p.take(int(n)))]
	}
	arrays := make([]placedArray, p.count(leastPlaced))
	for i := range arrays {
		a := &arrays[i]
		a.name = take(p.number(int64(len(p.rest))))
		a.seals = take(sealSize * p.number(int64(len(p.rest)/sealSize)))
		if !p.check(i == 0 || arrays[i-1].name < a.name, "the arrays are not in order") {
			return nil, p.err
		}
	}
	p.check(len(p.rest) == 0, "more follows")
	return arrays, p.err
}

// placesFiles returns the names of the pytree's records that the digests cover. all reports
// that one save wrote the whole pytree, so that its record has every array.
func (d *ReadDir) placesFiles() (names []string, all bool) {
	if d.digests.Has(path.Join(d.name, layout.PlacesFile)) {
		return []string{layout.PlacesFile}, true
	}
	if !d.digests.Has(path.Join(d.name, layout.TreeFile)) {
		return nil, false // of another writer
	}
	for _, file := range d.digests.Beginning(path.Join(d.name, layout.PlacesPrefix)) {
		if dir, name := path.Split(file); path.Clean(dir) == path.Clean(d.name) {
			names = append(names, name)
		}
	}
	return names, false
}

// readPlaces reads the pytree's records; it returns nil if there are none. A record that no
// digest covers may belong to another save, and is ignored.
func (d *ReadDir) readPlaces(ctx context.Context) (*places, error) {
	names, all := d.placesFiles()
	if len(names) == 0 {
		return nil, nil
	}
	p := &places{all: all}
	for _, name := range names {
		doc, err := d.ReadFile(ctx, name)
		if isNotExist(err) {
			err = fmt.Errorf("%w: missing file %s", fault.ErrCorrupt, name)
		}
		if err != nil {
			return nil, err
		}
		arrays, err := parsePlaces(doc)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		p.arrays = append(p.arrays, arrays...)
	}
	if len(names) == 1 {
		return p, nil
	}
	byName := func(a, b placedArray) int { return strings.Compare(a.name, b.name) }
	slices.SortFunc(p.arrays, byName)
	for i := range p.arrays[min(1, len(p.arrays)):] {
		if p.arrays[i].name == p.arrays[i+1].name {
			return nil, fmt.Errorf("%w: array %q is in two of the files %q", fault.ErrCorrupt, p.arrays[i].name, names)
		}
	}
	return p, nil
}

// of returns the seals of an array that has n chunks, "" if they are not known.
func (p *places) of(name string, n int) (seals string, err error) {
	if p == nil {
		return "", nil
	}
	i, ok := slices.BinarySearchFunc(p.arrays, name, func(a placedArray, name string) int { return strings.Compare(a.name, name) })
	switch {
	case !ok && p.all:
		return "", fmt.Errorf("%w: the array is not in %s", fault.ErrCorrupt, layout.PlacesFile)
	case !ok:
		return "", nil
	}
	if saved := len(p.arrays[i].seals) / sealSize; saved != n {
		return "", fmt.Errorf("%w: the array was saved in %d chunks, by its record in %s, and has %d", fault.ErrCorrupt, saved, layout.PlacesFile, n)
	}
	return p.arrays[i].seals, nil
}

// checkSeal compares the seal of enc, a stored chunk or the end of one, with the seal that
// was recorded for its place. If want is "", none is known, and nothing is compared.
func checkSeal(enc []byte, want string) error {
	if got := sealOf(enc); want != "" && string(got[:]) != want {
		return fmt.Errorf("%w: these are the data of another chunk, or of another save: their checksum is right, %08x, and that of the chunk saved here was %08x",
			fault.ErrCorrupt, binary.LittleEndian.Uint32(got[:]), binary.LittleEndian.Uint32([]byte(want)))
	}
	return nil
}
