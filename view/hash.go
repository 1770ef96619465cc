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

// Digest identifies the content of a tree or of a leaf: equal digests mean equal content.
// A digest does not depend on how the content is stored. Digests can be compared with ==.
//
// The digest of a leaf is the SHA-256 hash of the bytes that the following lines join
// with +. The hash of an array covers a header of text and the hashes of the array's
// pieces, so that large arrays can be hashed in parallel:
//
//	array   "array\n" + dtype + "\n" + shape + "\n" + generator + "\n" + pieces
//	string  "string\n" + the string, in UTF-8
//	empty   "empty\n" + "None", "Dict", "List" or "Tuple"
//
// dtype is the name of the element type, such as float32. shape is the list of dimensions
// in decimal, separated by commas. generator is the name of the generator of PRNG keys,
// such as threefry2x32, and empty for other arrays. The elements, row-major and
// little-endian, are divided into pieces of 1 MiB, the last of which may be shorter;
// pieces is the sequence of the SHA-256 hashes of these pieces. Elements of types with
// fewer than eight bits take a byte each, int2 and int4 with their sign extended. Scalars
// are arrays of rank 0, and byte strings are arrays of uint8.
//
// The digest of a tree is the hash of "orbax 1\n" and one record for each leaf, sorted as
// byte strings:
//
//	record  number of keys + keys + the leaf's digest
//	key     "k" in a dict or "i" in a sequence + length of the name + name
//
// Numbers are 8 bytes, little-endian. Names are in UTF-8; the name of a position in a
// sequence is its number in decimal.
//
// A digest therefore depends on whether a node is a dict or a sequence, on the kind of an
// empty node, and on shapes, dtypes and every bit of the elements, also of NaNs. It does
// not depend on facts in which writers differ:
//   - whether the keys of a dict were integers;
//   - whether an array was of JAX or of NumPy, or a number of the language;
//   - whether bytes were a byte string or an array;
//   - whether a sequence with elements was a list or a tuple;
//   - shardings.
type Digest [sha256.Size]byte

// digestPrefix contains the version of the definition of digests.
const digestPrefix = "orbax1:"

const treeHeader = "orbax 1\n"

// pieceBytes is the size of the pieces of an array that are hashed on their own.
const pieceBytes = 1 << 20

// String returns "orbax1:" and the hash in hexadecimal. The 1 is the version of the
// definition.
func (d Digest) String() string { return digestPrefix + hex.EncodeToString(d[:]) }

// MarshalText returns the text that [Digest.String] returns.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText parses the text that [Digest.String] returns. A digest of another version
// is an error that matches orbax.ErrUnsupported.
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

// Hash reads the tree and returns its digest, and the digests of the leaves in their
// order. It hashes several leaves, and several pieces of one leaf, at a time. Its memory
// does not grow with the leaves: it takes about 64 MiB, or four of the stored chunks if
// these are larger. It reads a larger leaf several times if the chunks of that leaf
// divide its last axes.
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

// digest returns the digest of the tree from the digests of its leaves.
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

// header returns the beginning of the bytes that the hash of a leaf covers. For a leaf
// without elements these are all of them.
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
	at     int               // offset in the array of its first byte
	before <-chan *arrayHash // delivers the hash of all boxes before it; nil for the first box
	after  chan<- *arrayHash // takes the hash after this box; nil for the last box
	sum    *Digest           // the last box sets it
}

// errStop ends the division of leaves into boxes when no more boxes are wanted.
var errStop = errors.New("stopped")

// hashBoxes yields the boxes of a leaf. Its digest goes to sum.
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

// hash hashes the bytes of the box. It hashes whole pieces at once, and then waits for
// the hash of the boxes before this one.
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
	piece hash.Hash // of the current piece; nil if it has no bytes yet
}

func (h *arrayHash) endPiece() {
	h.sum.Write(h.piece.Sum(nil))
	h.piece = nil
}
