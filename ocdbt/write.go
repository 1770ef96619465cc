package ocdbt

import (
	"fmt"
	"iter"
	"math"

	"github.com/go-orbax/orbax/internal/fault"
)

// defaultNodeBytes is the size at which WriteTree splits nodes by default.
const defaultNodeBytes = 8 << 20

// Placer stores an encoded node, which it may keep, and returns the place of the node.
// The path of the file is relative to the root of the database.
type Placer func(node []byte) (Ref, error)

// WriteTree builds a tree over entries, from the leaves to the root, and passes each node
// to place. Its result is an argument of [Manifest]. Without entries there is no node,
// and the root is empty.
//
// Keys must ascend strictly, by bytes; a repeated key is an error that matches
// orbax.ErrKeyCollision. Inline values may have up to 1 MiB, and must not change until
// WriteTree returns. A node is split if its decoded form would have more than about
// maxNodeBytes bytes; 0 means 8 MiB. WriteTree uses memory for about one node of each
// level.
func WriteTree(entries iter.Seq[Entry], maxNodeBytes int, place Placer) (Root, error) {
	if maxNodeBytes <= 0 {
		maxNodeBytes = defaultNodeBytes
	}
	w := treeWriter{limit: maxNodeBytes, place: place}
	prev, first := "", true
	for e := range entries {
		if err := checkEntry(e); err != nil {
			return Root{}, err
		}
		switch {
		case first:
			first = false
		case e.Key == prev:
			return Root{}, fmt.Errorf("OCDBT tree: %w: %q occurs twice", fault.ErrKeyCollision, e.Key)
		case e.Key < prev:
			return Root{}, fmt.Errorf("OCDBT tree: keys do not ascend: %q follows %q", e.Key, prev)
		}
		prev = e.Key
		if err := w.add(0, item{key: e.Key, value: e.Value}); err != nil {
			return Root{}, err
		}
	}
	return w.finish()
}

func checkEntry(e Entry) error {
	v := e.Value
	switch {
	case len(e.Key) > maxKeyLength:
		return fmt.Errorf("OCDBT tree: key of %d bytes (%.40q…) exceeds the limit of %d", len(e.Key), e.Key, maxKeyLength)
	case !v.IsInline() && len(v.Inline) > 0:
		return fmt.Errorf("OCDBT tree: value of %q is both inline and in %q", e.Key, v.Ref.File)
	case v.IsInline() && len(v.Inline) > maxInline:
		return fmt.Errorf("OCDBT tree: inline value of %q has %d bytes, the limit is %d", e.Key, len(v.Inline), maxInline)
	case v.IsInline() && v.Ref != Ref{}:
		return fmt.Errorf("OCDBT tree: value of %q refers to no file, but to offset %d and length %d", e.Key, v.Ref.Offset, v.Ref.Length)
	case !v.IsInline():
		if err := checkRef(v.Ref); err != nil {
			return fmt.Errorf("OCDBT tree: value of %q: %w", e.Key, err)
		}
	}
	return nil
}

func checkRef(r Ref) error {
	switch {
	case len(r.File) > maxPathLength:
		return fmt.Errorf("path of %d bytes exceeds the limit of %d", len(r.File), maxPathLength)
	case !validPath(r.File):
		return fmt.Errorf("%w: path %q is empty, absolute, leaves the root, or is not in its simplest form", fault.ErrReservedName, r.File)
	case r.Offset < 0 || r.Length < 0 || r.Offset > math.MaxInt64-r.Length:
		return fmt.Errorf("offset %d and length %d are not a range in a file", r.Offset, r.Length)
	}
	return nil
}

// item is an entry of a node that is being built.
type item struct {
	key   string
	value Value // in a leaf; elsewhere, Ref refers to the child
	// For a child: its totals, and the length of the prefix that its keys lack.
	stats  Stats
	common int
}

// size estimates the decoded size of the item, as TensorStore does.
func (it *item) size() int {
	return 16 + len(it.key) + len(it.value.Inline) + len(it.value.Ref.File)
}

// treeWriter collects the items of the last node of each level.
type treeWriter struct {
	limit  int
	place  Placer
	levels []level
	tally  tally // counts as a reader will
}

type level struct {
	items []item
	size  int
}

// add appends an item to level h. If the node of that level is full, add completes it
// first.
func (w *treeWriter) add(h int, it item) error {
	if h == len(w.levels) {
		if h > math.MaxUint8 {
			return fmt.Errorf("OCDBT tree: more than %d levels", math.MaxUint8+1)
		}
		w.levels = append(w.levels, level{})
	}
	// A node above the leaves needs two children; otherwise the tree would not get
	// narrower.
	least := min(h, 1) + 1
	l := &w.levels[h]
	if len(l.items) >= least && (l.size+it.size() > w.limit || len(l.items) == maxNodeEntries) {
		if err := w.flush(h); err != nil {
			return err
		}
		l = &w.levels[h]
	}
	l.items = append(l.items, it)
	l.size += it.size()
	return nil
}

// flush completes the node of level h and adds it to the level above.
func (w *treeWriter) flush(h int) error {
	it, err := w.write(h, false)
	if err != nil {
		return err
	}
	l := &w.levels[h]
	clear(l.items)
	l.items, l.size = l.items[:0], 0
	return w.add(h+1, it)
}

func (w *treeWriter) finish() (Root, error) {
	for h := 0; h < len(w.levels); h++ {
		if h == len(w.levels)-1 {
			it, err := w.write(h, true)
			if err != nil {
				return Root{}, err
			}
			return Root{Ref: it.value.Ref, Height: uint8(h), Stats: it.stats}, nil
		}
		if err := w.flush(h); err != nil {
			return Root{}, err
		}
	}
	return Root{}, nil
}

// write places the node of level h and returns its item for the level above.
func (w *treeWriter) write(h int, isRoot bool) (item, error) {
	items := w.levels[h].items
	common := 0
	if !isRoot {
		common = leaveOut(items, h)
	}
	b := encodeNode(items, h, common)
	it := item{key: items[0].key, common: common, stats: total(items, h)}
	it.stats.TreeBytes += uint64(len(b))
	ref, err := w.place(b)
	if err != nil {
		return item{}, err
	}
	if err := checkRef(ref); err != nil {
		return item{}, fmt.Errorf("OCDBT node: %w", err)
	}
	if ref.Length != int64(len(b)) {
		return item{}, fmt.Errorf("OCDBT node of %d bytes was placed in a range of %d bytes", len(b), ref.Length)
	}
	it.value.Ref = ref
	return it, w.readable(h, ref, items)
}

// readable refuses entries of a leaf that readers would refuse, because too few stored
// bytes hold too many long keys.
func (w *treeWriter) readable(h int, ref Ref, items []item) error {
	if h > 0 {
		return nil
	}
	w.tally.node(ref)
	for i := range items {
		if err := w.tally.entry(len(items[i].key) + len(items[i].value.Inline)); err != nil {
			return fmt.Errorf("OCDBT tree: %w: no reader would take it: %v", fault.ErrUnsupported, err)
		}
	}
	return nil
}

// leaveOut returns the length of the prefix that a node of the items may leave out of its
// keys. A node above the leaves must keep the bytes that distinguish its children's
// prefixes.
func leaveOut(items []item, h int) int {
	n := commonPrefix(items[0].key, items[len(items)-1].key)
	if h > 0 {
		for i := range items {
			n = min(n, items[i].common)
		}
	}
	return n
}

func total(items []item, h int) (s Stats) {
	if h == 0 {
		s.Keys = uint64(len(items))
		for i := range items {
			s.ValueBytes = addSaturated(s.ValueBytes, uint64(items[i].value.Ref.Length))
		}
		return s
	}
	for i := range items {
		c := &items[i].stats
		s.Keys += c.Keys
		s.TreeBytes += c.TreeBytes
		s.ValueBytes = addSaturated(s.ValueBytes, c.ValueBytes)
	}
	return s
}

func addSaturated(a, b uint64) uint64 {
	if sum := a + b; sum >= a {
		return sum
	}
	return math.MaxUint64
}
