package view

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strconv"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/region"
	"github.com/go-orbax/orbax/tree"
)

// Digest identifies the content of a tree or of a leaf: two with one digest hold
// the same. It does not depend on how they are stored. Digests can be compared
// with ==.
//
// It is the SHA-256 hash of these bytes, where + joins them. The hash of an array
// is over a header of text and the hashes of its pieces, so that large arrays can
// be hashed in parallel:
//
//	array   "array\n" + dtype + "\n" + shape + "\n" + generator + "\n" + pieces
//	string  "string\n" + the string, in UTF-8
//	empty   "empty\n" + "None", "Dict", "List" or "Tuple"
//
// dtype is the name of the elements' type, such as float32; shape are the
// dimensions in decimal, with a comma between two; generator is that of PRNG keys,
// such as threefry2x32, and nothing for other arrays. The elements, row-major and
// little-endian, are divided into pieces of 1 MiB, the last of which may be
// shorter; pieces are the SHA-256 hashes of these, in order. Elements of types of
// fewer than eight bits take a byte each, int2 and int4 with their sign extended.
// Scalars and byte strings are arrays, of rank 0 and of uint8.
//
// That of a tree is over "orbax 1\n" and one record for each leaf, sorted as byte
// strings:
//
//	record  number of keys + keys + the leaf's digest
//	key     "k" in a dict or "i" in a sequence + length of the name + name
//
// Numbers are 8 bytes, little-endian; names are in UTF-8, that of a position in a
// sequence is its number in decimal.
//
// So it counts whether a node is a dict or a sequence, and what an empty one is,
// but not whether a dict's keys were integers; shapes, dtypes and every bit of
// the elements count, those of a NaN too. What does not count is whether an
// array was of JAX or NumPy or a number of the language, whether bytes were a byte
// string or an array, whether a sequence that is not empty was a list or a tuple,
// and shardings: writers differ in these.
type Digest [sha256.Size]byte

// digestPrefix tells the version of the definition of digests.
const digestPrefix = "orbax1:"

const treeHeader = "orbax 1\n"

// pieceBytes is what is hashed on its own of an array's elements.
const pieceBytes = 1 << 20

// String returns "orbax1:", where 1 is the version of the definition, and the hash
// in hexadecimal.
func (d Digest) String() string { return digestPrefix + hex.EncodeToString(d[:]) }

// MarshalText returns the text of String.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads the text of String. Digests of another version are an error
// that matches orbax.ErrUnsupported.
func (d *Digest) UnmarshalText(text []byte) error {
	rest, ok := bytes.CutPrefix(text, []byte(digestPrefix))
	if !ok || len(rest) != hex.EncodedLen(len(d)) {
		return fmt.Errorf("%w: digest %.80q is not %s and %d hexadecimal digits", fault.ErrUnsupported, text, digestPrefix, hex.EncodedLen(len(d)))
	}
	var sum Digest
	if _, err := hex.Decode(sum[:], rest); err != nil {
		return fmt.Errorf("%w: digest %q: %w", fault.ErrUnsupported, text, err)
	}
	*d = sum
	return nil
}

// Hash reads the tree and returns its digest, and those of the leaves in their
// order. Several leaves, and parts of one, are hashed at a time. The memory that it
// takes does not grow with the leaves: it is about 64 MiB, or four of the stored
// chunks where these are larger. A leaf of more than that whose chunks divide its
// last axes is read several times.
func (t *Tree) Hash(ctx context.Context) (Digest, []Digest, error) {
	if err := cmp.Or(mayRead(ctx, t.leaves), checkAll(t.leaves, nil)); err != nil {
		return Digest{}, nil, err
	}
	sums := make([]Digest, len(t.leaves))
	var failed error
	boxes := func(yield func(hashBox) bool) {
		for i, l := range t.leaves {
			if failed = l.hashBoxes(ctx, &sums[i], yield); failed != nil {
				return
			}
		}
	}
	need := func(b *hashBox) (int, bool) { return b.bytes, b.whole }
	err := eachBlock(ctx, gather(boxes, need), func(ctx context.Context, boxes []hashBox, memory []byte) error {
		plain := make([]box, len(boxes))
		for i := range boxes {
			plain[i] = boxes[i].box
		}
		data, _, err := readBoxes(ctx, memory, plain)
		if err != nil {
			return err
		}
		for i := range boxes {
			if err := boxes[i].hash(ctx, data[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err := cmp.Or(err, failed); err != nil {
		return Digest{}, nil, err
	}
	return t.digest(sums), sums, nil
}

// digest returns the digest of the tree whose leaves have the given ones.
func (t *Tree) digest(leaves []Digest) Digest {
	records := make([][]byte, len(t.leaves))
	for i, l := range t.leaves {
		records[i] = append(appendPath(nil, l.meta.Path), leaves[i][:]...)
	}
	slices.SortFunc(records, bytes.Compare)
	h := sha256.New()
	h.Write([]byte(treeHeader))
	for _, r := range records {
		h.Write(r)
	}
	return Digest(h.Sum(nil))
}

func appendPath(b []byte, p tree.Path) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(len(p)))
	for _, k := range p {
		kind := byte('k')
		if k.Seq {
			kind = 'i'
		}
		b = append(b, kind)
		b = binary.LittleEndian.AppendUint64(b, uint64(len(k.Name)))
		b = append(b, k.Name...)
	}
	return b
}

// header returns what the hash of a leaf begins with; all of it if the leaf has no
// elements.
func (l *Leaf) header() string {
	m := &l.meta
	switch m.Kind {
	case tree.KindString:
		text, _ := l.value.(string)
		return "string\n" + text
	case tree.KindEmpty:
		return "empty\n" + m.Empty.String()
	}
	dims := make([]string, len(m.Shape))
	for i, d := range m.Shape {
		dims[i] = strconv.Itoa(d)
	}
	return "array\n" + m.DType.String() + "\n" + strings.Join(dims, ",") + "\n" + m.PRNGImpl + "\n"
}

// hashBox is a run of an array's elements in row-major order, to be hashed.
type hashBox struct {
	box
	at     int               // of its first byte in the array
	before <-chan *arrayHash // gives the hash of all before it; nil if it is the first
	after  chan<- *arrayHash // takes it on; nil if it is the last
	sum    *Digest           // what the last one sets
}

// errStop ends the division of leaves into boxes that nobody wants any more.
var errStop = errors.New("stopped")

// hashBoxes yields the boxes of a leaf, whose digest goes to sum.
func (l *Leaf) hashBoxes(ctx context.Context, sum *Digest, yield func(hashBox) bool) error {
	total, err := l.bytes()
	if err != nil {
		return err
	}
	if total == 0 {
		*sum = sha256.Sum256([]byte(l.header()))
		return nil
	}
	shape, item := l.meta.Shape, l.meta.DType.Size()
	l, err = l.settled(ctx)
	if err != nil {
		return err
	}
	chunk := l.chunks()
	size := blockSize(shape, inRows(chunk, shape), item, window(chunk, item))
	at := 0
	var before chan *arrayHash
	for off, n := range boxesOf(shape, size) {
		b := hashBox{box: box{leaf: l, off: off, size: n}, at: at, before: before, sum: sum}
		b.bytes, _ = region.NumBytes(n, item)
		b.whole = b.bytes == total
		if at += b.bytes; at < total {
			before = make(chan *arrayHash, 1)
			b.after = before
		}
		if !yield(b) {
			return errStop
		}
	}
	return nil
}

// hash hashes the bytes of the box. Whole pieces are hashed at once; then the hash
// of what is before them must be known.
func (b *hashBox) hash(ctx context.Context, data []byte) error {
	head := data[:min(len(data), (pieceBytes-b.at%pieceBytes)%pieceBytes)]
	data = data[len(head):]
	var whole []byte
	for len(data) >= pieceBytes {
		sum := sha256.Sum256(data[:pieceBytes])
		whole = append(whole, sum[:]...)
		data = data[pieceBytes:]
	}
	tail := sha256.New()
	tail.Write(data)

	h := &arrayHash{sum: sha256.New()}
	if b.before == nil {
		h.sum.Write([]byte(b.leaf.header()))
	} else {
		select {
		case h = <-b.before:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if len(head) > 0 {
		h.piece.Write(head)
		if (b.at+len(head))%pieceBytes == 0 {
			h.endPiece()
		}
	}
	h.sum.Write(whole)
	if len(data) > 0 {
		h.piece = tail
	}
	if b.after != nil {
		b.after <- h
		return nil
	}
	if h.piece != nil {
		h.endPiece()
	}
	h.sum.Sum(b.sum[:0])
	return nil
}

// arrayHash is the hash of an array up to some byte.
type arrayHash struct {
	sum   hash.Hash // of the header and the pieces before the current one
	piece hash.Hash // of the current one; nil if it has no bytes yet
}

func (h *arrayHash) endPiece() {
	h.sum.Write(h.piece.Sum(nil))
	h.piece = nil
}
