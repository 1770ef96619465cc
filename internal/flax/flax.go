// Package flax reads the trees that Flax and Orbax store in MessagePack files. These are
// plain files of flax.serialization, and the file called checkpoint, in which Orbax
// collects the leaves that a program asks it to aggregate. The package reads no arrays;
// it reports their place.
package flax

import (
	"context"
	"fmt"
	"strings"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/msgpack"
	"github.com/go-orbax/orbax/tree"
)

// Leaf is a leaf of the tree in a file.
type Leaf struct {
	Path tree.Path
	Kind tree.Kind // KindInvalid if Err is set
	// Value is a bool, int64, uint64, float64 or complex128 for a scalar of Python's own
	// types, a string, or a [tree.Empty].
	Value any
	// Array is the place of the elements of an array, a NumPy scalar, or a byte string.
	Array *Array
	// Err is the reason why the leaf cannot be read, if the others still can.
	Err error
}

// Array is an array whose elements are in the file, row-major and little-endian.
type Array struct {
	DType array.DType
	Shape []int
	Runs  []Run // of elements, in their order
}

// Run is a range of bytes of the file.
type Run struct{ At, Length int64 }

// The beginnings of strings that represent arrays stored elsewhere.
var (
	orbaxPlaceholders = []string{"PLACEHOLDER://", "AGGREGATED://"}
	flaxPlaceholders  = []string{"//GDAPlaceholder:", "//MPAPlaceholder:"}
)

// IsPlaceholder reports whether the leaf represents one that Orbax stored apart, under
// the name that its path makes.
func (l *Leaf) IsPlaceholder() bool {
	text, ok := l.Value.(string)
	return ok && hasPrefix(text, orbaxPlaceholders)
}

func hasPrefix(s string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

// Read reads the tree in src. Its leaves are in the order of the file. A leaf at which
// the file cannot be parsed is an error that matches orbax.ErrCorrupt and names the leaf.
// A tree that is too deep, or too large for its description to fit in memory, matches
// orbax.ErrUnsupported.
func Read(ctx context.Context, src msgpack.Source) ([]Leaf, error) {
	w := &walker{r: msgpack.NewReader(ctx, src)}
	err := w.value()
	if left := w.r.Left(); err == nil && left > 0 {
		err = fmt.Errorf("%w: %d bytes follow the tree", fault.ErrCorrupt, left)
	}
	if err != nil {
		return nil, fault.OfLeaf(w.path.String(), err)
	}
	return w.leaves, nil
}

// Begins reports whether a file that begins with b looks like a tree of Flax: a dict
// whose first key is a string. All such trees do, except a single leaf and an empty tree.
func Begins(b []byte) bool {
	h, n := msgpack.ParseHead(b)
	if h.Kind != msgpack.Map || h.Len == 0 {
		return false
	}
	key, _ := msgpack.ParseHead(b[n:])
	return key.Kind == msgpack.String
}

// SniffBytes is the number of bytes that [Begins] needs.
const SniffBytes = 16

const (
	// maxDepth is the largest nesting depth of containers, that of Python's msgpack.
	maxDepth = 1024
	// maxCost is about the memory that the description of the tree may take. One byte of
	// the file can be a leaf.
	maxCost = 256 << 20
	// leafCost is about the memory of a leaf, with everything that is made from it.
	leafCost = 640
	keyCost  = 32 // of a key in a path
	// nameCost is the number of copies of a leaf's name (its keys joined) in memory, with
	// everything that is made from it. One long key is in the names of all leaves below
	// it.
	nameCost = 6
)

// walker goes through a file.
type walker struct {
	r      *msgpack.Reader
	path   tree.Path // of the current value
	leaves []Leaf
	cost   int64
}

// spend counts memory before it is taken, and fails above maxCost.
func (w *walker) spend(bytes int64) error {
	if w.cost += bytes; w.cost > maxCost {
		return fmt.Errorf("%w: the tree without its arrays takes more than %d MiB of memory", fault.ErrUnsupported, maxCost>>20)
	}
	return nil
}

func (w *walker) add(l Leaf) error {
	cost := int64(leafCost)
	for _, k := range w.path {
		cost += keyCost + nameCost*int64(len(k.Name)+1)
	}
	if err := w.spend(cost); err != nil {
		return err
	}
	l.Path = append(tree.Path{}, w.path...)
	if l.Err != nil {
		l.Kind, l.Array, l.Value = tree.KindInvalid, nil, nil
	}
	w.leaves = append(w.leaves, l)
	return nil
}

// value reads the value at w.path. After an error w.path is the path of the value with
// the error.
func (w *walker) value() error {
	h, err := w.r.Next()
	if err != nil {
		return err
	}
	switch h.Kind {
	case msgpack.Array:
		return w.list(h.Len, false)
	case msgpack.Map:
		return w.dict(h.Len)
	case msgpack.Ext:
		return w.r.Within(h.Len, func() error { return w.extension(h.Ext) })
	case msgpack.String:
		return w.text(h.Len)
	case msgpack.Binary:
		run := Run{At: w.r.Offset(), Length: h.Len}
		w.r.Skip(h.Len)
		return w.add(Leaf{Kind: tree.KindBytes, Array: &Array{DType: array.Uint8, Shape: []int{int(h.Len)}, Runs: []Run{run}}})
	case msgpack.Nil:
		return w.add(Leaf{Kind: tree.KindEmpty, Value: tree.None})
	}
	return w.add(Leaf{Kind: tree.KindScalar, Value: scalar(h)})
}

// list reads n values of a sequence.
func (w *walker) list(n int64, tuple bool) error {
	if n == 0 {
		empty := tree.EmptyList
		if tuple {
			empty = tree.EmptyTuple
		}
		return w.add(Leaf{Kind: tree.KindEmpty, Value: empty})
	}
	for i := range n {
		if err := w.child(seqKey(i, tuple)); err != nil {
			return err
		}
	}
	return nil
}

// dict reads n pairs of a key and a value.
func (w *walker) dict(n int64) error {
	if n == 0 {
		return w.add(Leaf{Kind: tree.KindEmpty, Value: tree.EmptyDict})
	}
	first := len(w.leaves)
	seen := map[string]bool{}
	for range n {
		name, err := w.key()
		if err != nil {
			return err
		}
		if seen[name] {
			return fmt.Errorf("%w: the key %q is there twice", fault.ErrCorrupt, name)
		}
		seen[name] = true
		if err := w.child(tree.Key{Name: name}); err != nil {
			return err
		}
	}
	if seen[chunkedKey] {
		array := joinChunks(w.leaves[first:], len(w.path))
		w.leaves = w.leaves[:first]
		return w.add(array)
	}
	return nil
}

// key reads a key of a dict.
func (w *walker) key() (string, error) {
	h, err := w.r.Next()
	switch {
	case err != nil:
		return "", err
	case h.Kind != msgpack.String:
		return "", fmt.Errorf("%w: a key of a dict is %v, not a string", fault.ErrCorrupt, h.Kind)
	}
	if err := w.spend(keyCost + h.Len); err != nil {
		return "", err
	}
	name, err := w.r.Text(h.Len)
	if err == nil && !validText(name) {
		err = fmt.Errorf("%w: the key %q is not UTF-8", fault.ErrCorrupt, name)
	}
	return name, err
}

// child reads the value under a key of the container at w.path.
func (w *walker) child(k tree.Key) error {
	w.path = append(w.path, k)
	if len(w.path) > maxDepth {
		return fmt.Errorf("%w: containers are nested more than %d deep", fault.ErrUnsupported, maxDepth)
	}
	if err := w.value(); err != nil {
		return err
	}
	w.path = w.path[:len(w.path)-1]
	return nil
}

// text reads a string of n bytes.
func (w *walker) text(n int64) error {
	if err := w.spend(n); err != nil {
		return err
	}
	s, err := w.r.Text(n)
	if err != nil {
		return err
	}
	l := Leaf{Kind: tree.KindString, Value: s}
	switch {
	case !validText(s):
		l.Err = fmt.Errorf("%w: the string is not UTF-8", fault.ErrCorrupt)
	case hasPrefix(s, flaxPlaceholders):
		l.Err = fmt.Errorf("%w: Flax stored the array of several processes apart, in a directory beside the file", fault.ErrUnsupported)
	}
	return w.add(l)
}
