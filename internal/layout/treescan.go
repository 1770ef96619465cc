package layout

import (
	"bytes"
	"slices"

	"github.com/go-orbax/orbax/tree"
)

// scanTree parses a _METADATA of the form that Orbax and this package write, at a
// fraction of the cost of decodeTree. ok is false if the document has another form;
// decodeTree parses it then.
func scanTree(doc []byte) (m *TreeMetadata, rich string, ok bool) {
	t := treeScanner{scanner: newScanner(doc), slab: tree.Path{}}
	m = &TreeMetadata{Sparse: true}
	var seen members
	for t.Begin('{'); t.Next('}'); {
		switch string(t.Name()) {
		case "tree_metadata":
			t.once(&seen, 1)
			m.Leaves = t.leaves(len(doc))
		case "use_ocdbt":
			t.once(&seen, 2)
			ocdbt := t.Bool()
			m.OCDBT = &ocdbt
		case "use_zarr3":
			t.once(&seen, 4)
			m.Zarr3 = t.Bool()
		case "store_array_data_equal_to_fill_value":
			t.once(&seen, 8)
			m.Sparse = !t.Bool()
		case "value_metadata_tree":
			t.once(&seen, 16)
			rich = string(t.Text())
		case "custom_metadata":
			t.Null()
		default:
			t.Fail()
		}
	}
	return m, rich, t.Done() && len(m.Leaves) > 0
}

// treeScanner reads the leaves of a document.
type treeScanner struct {
	scanner
	slab tree.Path // memory for paths
	last TreeLeaf  // the next leaf shares its strings and shape if they are equal
}

func (t *treeScanner) leaves(size int) []TreeLeaf {
	leaves := make([]TreeLeaf, 0, size/entryBytes)
	names := make([][]byte, 0, size/entryBytes)
	for t.Begin('{'); t.Next('}'); {
		names = append(names, t.Name())
		t.last = t.leaf()
		leaves = append(leaves, t.last)
	}
	if !distinct(names) {
		t.Fail()
	}
	return leaves
}

func (t *treeScanner) leaf() (l TreeLeaf) {
	var seen members
	for t.Begin('{'); t.Next('}'); {
		switch string(t.Name()) {
		case "key_metadata":
			t.once(&seen, 1)
			l.Path = t.path()
		case "value_metadata":
			t.once(&seen, 2)
			t.value(&l)
		default:
			t.Fail()
		}
	}
	if seen != 3 {
		t.Fail()
	}
	return l
}

func (t *treeScanner) path() tree.Path {
	path := t.slab
	for t.Begin('['); t.Next(']'); {
		if len(path) == cap(path) {
			path = slices.Grow(path, 256)
		}
		var shared string
		if n := len(path); n < len(t.last.Path) {
			shared = t.last.Path[n].Name
		}
		path = append(path, t.key(shared))
	}
	t.slab = path[len(path):]
	return path[:len(path):len(path)]
}

func (t *treeScanner) key(shared string) (k tree.Key) {
	var seen members
	for t.Begin('{'); t.Next('}'); {
		switch string(t.Name()) {
		case "key":
			t.once(&seen, 1)
			k.Name = share(t.Text(), shared)
		case "key_type":
			t.once(&seen, 2)
			switch t.Int() {
			case sequenceKey:
				k.Seq = true
			case dictKey:
			default:
				t.Fail()
			}
		default:
			t.Fail()
		}
	}
	if seen&2 == 0 {
		t.Fail()
	}
	return k
}

func (t *treeScanner) value(l *TreeLeaf) {
	var seen members
	for t.Begin('{'); t.Next('}'); {
		switch string(t.Name()) {
		case "value_type":
			t.once(&seen, 1)
			l.ValueType = ValueType(share(t.Text(), string(t.last.ValueType)))
		case "skip_deserialize":
			t.once(&seen, 2)
			l.Empty = t.Bool()
		case "write_shape":
			t.once(&seen, 4)
			l.WriteShape = t.shape(t.last.WriteShape)
		case "go_type":
			t.once(&seen, 8)
			l.GoType = share(t.Text(), t.last.GoType)
		default:
			t.Fail()
		}
	}
	if seen&2 == 0 {
		t.Fail()
	}
}

// distinct reports whether all names differ. It may sort them.
func distinct(names [][]byte) bool {
	ascending := func() bool {
		for i := range names[min(1, len(names)):] {
			if bytes.Compare(names[i], names[i+1]) >= 0 {
				return false
			}
		}
		return true
	}
	if ascending() {
		return true
	}
	slices.SortFunc(names, bytes.Compare)
	return ascending()
}
