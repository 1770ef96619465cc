package layout

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/tree"
)

// ValueType is what Orbax calls the kind of a leaf in _METADATA.
type ValueType string

// The value types that Orbax writes. The last four are empty nodes, which have
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

// TreeLeaf is one leaf's entry in _METADATA.
type TreeLeaf struct {
	Path       tree.Path
	ValueType  ValueType
	Empty      bool  // skip_deserialize: nothing is stored for it
	WriteShape []int // of a jax.Array, the shape of one written shard; or nil
	// GoType is a member of ours: the Go type that the leaf had where Orbax
	// has no value type for it. Orbax ignores it.
	GoType string
}

// TreeMetadata is the document _METADATA.
type TreeMetadata struct {
	Leaves []TreeLeaf
	OCDBT  *bool // nil: OCDBT if there is a manifest
	Zarr3  bool
	// Sparse trees were written without the chunks that are all fill value, as
	// Orbax did before v1. It is set by ParseTree alone.
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

// keyName is a key, which is a string but for documents of other writers that
// have sequence indices as numbers.
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
	var d treeDoc
	if err := unmarshal(doc, &d); err != nil {
		return nil, fmt.Errorf("%w: %s: %v", fault.ErrCorrupt, TreeFile, err)
	}
	if len(d.TreeMetadata) == 0 {
		return nil, fmt.Errorf("%w: %s: no leaves", fault.ErrCorrupt, TreeFile)
	}
	m := &TreeMetadata{OCDBT: d.UseOCDBT, Zarr3: d.UseZarr3 != nil && *d.UseZarr3, Sparse: !d.AllChunks}
	m.Leaves = make([]TreeLeaf, 0, len(d.TreeMetadata))
	for name, e := range d.TreeMetadata {
		if e == nil || e.ValueMetadata == nil || e.ValueMetadata.SkipDeserialize == nil {
			return nil, fmt.Errorf("%w: %s: entry %s is incomplete", fault.ErrCorrupt, TreeFile, name)
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
				return nil, fmt.Errorf("%w: %s: entry %s has key type %d", fault.ErrUnsupported, TreeFile, name, k.KeyType)
			}
			leaf.Path[i] = tree.Key{Name: string(k.Key), Seq: k.KeyType == sequenceKey}
		}
		m.Leaves = append(m.Leaves, leaf)
	}
	if d.Rich != "" {
		if err := m.markTuples(d.Rich); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Document returns _METADATA as Orbax writes it, leaves in the given order.
// OCDBT must not be nil.
func (m *TreeMetadata) Document() []byte {
	var b bytes.Buffer
	b.WriteString(`{"tree_metadata": {`)
	for i, l := range m.Leaves {
		if i > 0 {
			b.WriteString(", ")
		}
		writeString(&b, pyTuple(l.Path))
		b.WriteString(`: {"key_metadata": [`)
		for i, k := range l.Path {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(`{"key": `)
			writeString(&b, k.Name)
			keyType := dictKey
			if k.Seq {
				keyType = sequenceKey
			}
			fmt.Fprintf(&b, `, "key_type": %d}`, keyType)
		}
		b.WriteString(`], "value_metadata": {"value_type": `)
		writeString(&b, string(l.ValueType))
		fmt.Fprintf(&b, `, "skip_deserialize": %t`, l.Empty)
		if l.WriteShape != nil {
			b.WriteString(`, "write_shape": `)
			writeInts(&b, l.WriteShape)
		}
		if l.GoType != "" {
			b.WriteString(`, "go_type": `)
			writeString(&b, l.GoType)
		}
		b.WriteString(`}}`)
	}
	fmt.Fprintf(&b, `}, "use_ocdbt": %t, "use_zarr3": %t, "store_array_data_equal_to_fill_value": true, "custom_metadata": null}`, *m.OCDBT, m.Zarr3)
	return b.Bytes()
}

// writeString writes s, which is valid UTF-8, as a JSON string.
func writeString(b *bytes.Buffer, s string) {
	enc, _ := EncodeJSON(s) // strings always encode
	b.Write(enc)
}

func writeInts(b *bytes.Buffer, v []int) {
	b.WriteByte('[')
	for i, n := range v {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strconv.Itoa(n))
	}
	b.WriteByte(']')
}
