package layout

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/tree"
)

// ValueType is the kind of a leaf in _METADATA, in the words of Orbax.
type ValueType string

// These are the value types that Orbax writes. The last four are empty nodes, which have
// no stored data.
const (
	JaxArray   ValueType = "jax.Array"
	NumPyArray ValueType = "np.ndarray"
	Scalar     ValueType = "scalar"
	String     ValueType = "string"
	NoneNode   ValueType = "None"
	DictNode   ValueType = "Dict"
	ListNode   ValueType = "List"
	TupleNode  ValueType = "Tuple"
)

// IsValue reports whether leaves of the type have a value. The first four types do.
func (t ValueType) IsValue() bool {
	return t == JaxArray || t == NumPyArray || t == Scalar || t == String
}

// TreeLeaf is the entry of one leaf in _METADATA.
type TreeLeaf struct {
	Path       tree.Path
	ValueType  ValueType
	Empty      bool  // skip_deserialize: nothing is stored for it, or it is in the AggregateFile
	WriteShape []int // shape of one written shard of a jax.Array; or nil
	// GoType is a member that only this package writes: the Go type of the leaf, if Orbax
	// has no value type for it. Orbax ignores it.
	GoType string
}

// TreeMetadata is the document _METADATA.
type TreeMetadata struct {
	Leaves []TreeLeaf
	OCDBT  *bool // nil: the tree is in OCDBT if there is a manifest
	Zarr3  bool
	// Sparse says that the tree was written without the chunks that consist of the fill
	// value, as Orbax did before v1. Only [ParseTree] sets it.
	Sparse bool
}

type treeDoc struct {
	TreeMetadata map[string]*treeEntry `json:"tree_metadata"`
	UseOCDBT     *bool                 `json:"use_ocdbt"`
	UseZarr3     *bool                 `json:"use_zarr3"`
	AllChunks    bool                  `json:"store_array_data_equal_to_fill_value"`
	// Rich is a document in a string: the tree with the types of its nodes.
	Rich string `json:"value_metadata_tree"`
}

type treeEntry struct {
	KeyMetadata []struct {
		Key     keyName `json:"key"`
		KeyType int     `json:"key_type"`
	} `json:"key_metadata"`
	ValueMetadata *struct {
		ValueType       ValueType `json:"value_type"`
		SkipDeserialize *bool     `json:"skip_deserialize"`
		WriteShape      []int     `json:"write_shape"`
		GoType          string    `json:"go_type"`
	} `json:"value_metadata"`
}

// keyName is a key. It is a string, except in documents of other writers, which have
// numbers for sequence indices.
type keyName string

func (k *keyName) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, (*string)(k))
	}
	var i int64
	if err := json.Unmarshal(b, &i); err != nil {
		return err
	}
	*k = keyName(strconv.FormatInt(i, 10))
	return nil
}

const (
	sequenceKey = 1
	dictKey     = 2
)

// ParseTree parses _METADATA. The leaves come in no particular order.
func ParseTree(doc []byte) (*TreeMetadata, error) {
	m, rich, ok := scanTree(doc)
	if !ok {
		var err error
		if m, rich, err = decodeTree(doc); err != nil {
			return nil, err
		}
	}
	if rich != "" {
		if err := m.markTuples(rich); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// decodeTree parses any valid document.
func decodeTree(doc []byte) (m *TreeMetadata, rich string, err error) {
	var d treeDoc
	if err := unmarshal(doc, &d); err != nil {
		return nil, "", fmt.Errorf("%w: %s: %v", fault.ErrCorrupt, TreeFile, err)
	}
	if len(d.TreeMetadata) == 0 {
		return nil, "", fmt.Errorf("%w: %s: no leaves", fault.ErrCorrupt, TreeFile)
	}
	m = &TreeMetadata{OCDBT: d.UseOCDBT, Zarr3: d.UseZarr3 != nil && *d.UseZarr3, Sparse: !d.AllChunks}
	m.Leaves = make([]TreeLeaf, 0, len(d.TreeMetadata))
	for name, e := range d.TreeMetadata {
		if e == nil || e.ValueMetadata == nil || e.ValueMetadata.SkipDeserialize == nil {
			return nil, "", fmt.Errorf("%w: %s: entry %s is incomplete", fault.ErrCorrupt, TreeFile, name)
		}
		v := e.ValueMetadata
		leaf := TreeLeaf{
			Path:       make(tree.Path, len(e.KeyMetadata)),
			ValueType:  v.ValueType,
			Empty:      *v.SkipDeserialize,
			WriteShape: v.WriteShape,
			GoType:     v.GoType,
		}
		for i, k := range e.KeyMetadata {
			if k.KeyType != sequenceKey && k.KeyType != dictKey {
				return nil, "", fmt.Errorf("%w: %s: entry %s has key type %d", fault.ErrUnsupported, TreeFile, name, k.KeyType)
			}
			leaf.Path[i] = tree.Key{Name: string(k.Key), Seq: k.KeyType == sequenceKey}
		}
		m.Leaves = append(m.Leaves, leaf)
	}
	return m, d.Rich, nil
}

// Document returns _METADATA in the form that Orbax writes, with the leaves in the given
// order. OCDBT must not be nil.
func (m *TreeMetadata) Document() []byte {
	b := make([]byte, 0, 256*(1+len(m.Leaves)))
	var name []byte
	b = append(b, `{"tree_metadata": {`...)
	for i, l := range m.Leaves {
		if i > 0 {
			b = append(b, ", "...)
		}
		name = appendTuple(name[:0], l.Path)
		b = appendString(b, name)
		b = append(b, `: {"key_metadata": [`...)
		for i, k := range l.Path {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = append(b, `{"key": `...)
			b = appendString(b, k.Name)
			keyType := dictKey
			if k.Seq {
				keyType = sequenceKey
			}
			b = append(b, `, "key_type": `...)
			b = append(strconv.AppendInt(b, int64(keyType), 10), '}')
		}
		b = append(b, `], "value_metadata": {"value_type": `...)
		b = appendString(b, string(l.ValueType))
		b = append(b, `, "skip_deserialize": `...)
		b = strconv.AppendBool(b, l.Empty)
		if l.WriteShape != nil {
			b = append(b, `, "write_shape": `...)
			b = appendInts(b, l.WriteShape, ", ")
		}
		if l.GoType != "" {
			b = append(b, `, "go_type": `...)
			b = appendString(b, l.GoType)
		}
		b = append(b, `}}`...)
	}
	return fmt.Appendf(b, `}, "use_ocdbt": %t, "use_zarr3": %t, "store_array_data_equal_to_fill_value": true, "custom_metadata": null}`, *m.OCDBT, m.Zarr3)
}
