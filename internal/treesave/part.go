package treesave

import (
	"encoding/binary"
	"fmt"
	"io/fs"

	"github.com/go-orbax/orbax/internal/binscan"
	"github.com/go-orbax/orbax/internal/database"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/places"
	"github.com/go-orbax/orbax/ocdbt"
)

// If several processes save together, each leaves a record of the chunks that it has
// written, for process 0, which makes the index of all:
//
//	the line recordMagic
//	number of data files, and for each
//	  length of its name, and the name, relative to the database of the process
//	number of arrays with chunks of this process, and for each
//	  its position in the plan, less that of the array before
//	  number of its chunks, and for each
//	    its number in the grid, less that of the chunk before
//	    0 for a plain file; 1, length and bytes of the value; or 2 and the position of its
//	      data file, offset and length
//	    its seal          4 bytes
//
// Numbers are varints of encoding/binary.
const recordMagic = layout.ProcessHeader + "1\n"

// recordOf returns the name of the record of a process.
func recordOf(rank int) string { return fmt.Sprint(layout.ProcessRecord, rank) }

// These are the ways in which a chunk is stored.
const (
	inPlainFile = iota
	inIndex
	inDataFile // and more
)

// partOf returns the record of the chunks that this process has written. entries are those
// of its database, in order. It returns nil if there are no chunks.
func (p *Plan) partOf(entries []ocdbt.Entry, seals [][]places.Seal) []byte {
	index := database.Index{Entries: entries}
	files := map[string]int{}
	var names, arrays, key []byte
	count, before := 0, 0
	for i := range p.arrays {
		a := &p.arrays[i]
		if len(a.own) == 0 {
			continue
		}
		arrays = appendNumbers(arrays, i-before, len(a.own))
		before, count = i, count+1
		last := 0
		for n, number := range a.own {
			arrays = appendNumbers(arrays, number-last)
			last = number
			key = database.AppendKey(key[:0], a.name, a.zarr.Key(a.index(number)))
			v, ok := index.Find(key)
			switch {
			case !ok:
				arrays = appendNumbers(arrays, inPlainFile)
			case v.IsInline():
				arrays = append(appendNumbers(arrays, inIndex, len(v.Inline)), v.Inline...)
			default:
				file, known := files[v.Ref.File]
				if !known {
					file = len(files)
					files[v.Ref.File] = file
					names = append(appendNumbers(names, len(v.Ref.File)), v.Ref.File...)
				}
				arrays = appendNumbers(arrays, inDataFile+file, int(v.Ref.Offset), int(v.Ref.Length))
			}
			arrays = append(arrays, seals[i][n][:]...)
		}
	}
	if count == 0 {
		return nil
	}
	doc := appendNumbers([]byte(recordMagic), len(files))
	doc = append(doc, names...)
	return append(appendNumbers(doc, count), arrays...)
}

func appendNumbers(b []byte, numbers ...int) []byte {
	for _, n := range numbers {
		b = binary.AppendUvarint(b, uint64(n))
	}
	return b
}

// written is a stored chunk.
type written struct {
	array, number int
	value         ocdbt.Value // empty for a plain file; the file is named as in its database
	seal          places.Seal
}

// leastWritten is the smallest number of bytes that a chunk takes in a record.
const leastWritten = 2 + places.SealSize

// parsePart calls add with each chunk of a record. The values refer to the memory of doc.
func (p *Plan) parsePart(doc []byte, add func(written) error) error {
	if len(doc) < len(recordMagic) || string(doc[:len(recordMagic)]) != recordMagic {
		return fmt.Errorf("%w: it begins with %.20q, not with %q: all processes must run the same version", fault.ErrUnsupported, doc, recordMagic)
	}
	r := binscan.Parser{Rest: doc[len(recordMagic):]}
	files := make([]string, r.Count(1))
	for i := range files {
		files[i] = string(r.Take(r.Count(1)))
		r.Check(fs.ValidPath(files[i]), "an unsafe file name")
	}
	array := 0
	for range r.Count(2 + leastWritten) {
		if array += int(r.Number(int64(len(p.arrays)))); !r.Check(array < len(p.arrays), "an array that is not in the plan") {
			return r.Err
		}
		number, chunks := 0, p.arrays[array].zarr.NumChunks()
		for range r.Count(leastWritten) {
			if number += int(r.Number(int64(chunks))); !r.Check(number < chunks, "a chunk that is not in the plan") {
				return r.Err
			}
			w := written{array: array, number: number}
			kind := int(r.Number(int64(inDataFile + len(files))))
			r.Check((kind == inPlainFile) == p.storage.PlainFiles, "a chunk that is stored in another way than the plan says")
			switch {
			case kind == inIndex:
				w.value.Inline = r.Take(r.Count(1))
			case kind >= inDataFile && r.Check(kind-inDataFile < len(files), "a file that is not in the record"):
				w.value.Ref = ocdbt.Ref{File: files[kind-inDataFile], Offset: r.Number(maxOffset), Length: r.Number(maxOffset)}
			}
			copy(w.seal[:], r.Take(places.SealSize))
			if r.Err != nil {
				return r.Err
			}
			if err := add(w); err != nil {
				return err
			}
		}
	}
	r.Check(len(r.Rest) == 0, "more follows")
	return r.Err
}

// maxOffset is more than the size of any file.
const maxOffset = 1 << 60
