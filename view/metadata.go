package view

import (
	"errors"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/tree"
)

// TreeMetadata describes a stored pytree.
type TreeMetadata struct {
	// Leaves are in the order of their paths: dict keys sorted, sequences by
	// position.
	Leaves []LeafMetadata
	// Format names the layout of files and arrays, such as "ocdbt+zarr3", "files+zarr2"
	// or "safetensors".
	Format string
	// Custom is the member __metadata__ of safetensors files.
	Custom map[string]string
	// ShardingErr is the reason why no leaf has a Sharding although the tree was saved
	// with some: their document is damaged. It prevents no load.
	ShardingErr error
}

// Bytes returns the size of all leaves in memory, in bytes.
func (m *TreeMetadata) Bytes() int64 {
	var n int64
	for _, l := range m.Leaves {
		n += l.Bytes
	}
	return n
}

// Err returns the reason why a load of the whole tree would fail, as far as the documents
// show it. It joins the Err of each leaf that has one, as a *orbax.LeafError, and is nil
// if no leaf has one. Only a read of all data finds all damage; see orbax.Verify.
func (m *TreeMetadata) Err() error {
	var errs []error
	for i := range m.Leaves {
		errs = append(errs, m.Leaves[i].err())
	}
	return errors.Join(errs...)
}

// LeafMetadata describes a stored leaf.
type LeafMetadata struct {
	Path tree.Path
	Kind tree.Kind
	// ValueType is Orbax's name of the kind: "jax.Array", "np.ndarray", "scalar",
	// "string", "None", "Dict", "List" or "Tuple".
	ValueType string
	Empty     tree.Empty // of an empty node

	// The following fields describe arrays, scalars and byte strings.

	DType       array.DType
	Shape       []int
	ChunkShape  []int              // of the stored chunks
	WriteShape  []int              // shape of one written shard of a jax.Array; may be nil
	Codecs      string             // encoding of the chunks
	Sharding    *sharding.Sharding // of a jax.Array; nil if none is recorded or readable
	PRNGImpl    string             // generator of PRNG keys, whose data DType and Shape describe
	Bytes       int64              // size in memory
	StoredBytes int64              // size as stored
	// MissingChunks is the number of chunks that are not stored. Their elements have the
	// fill value.
	MissingChunks int

	lostSharding bool // the leaf may have a sharding that cannot be read

	// Err is the reason why the leaf cannot be read: a document or file of this leaf
	// alone is damaged, or its form is unknown. The other fields hold the facts that are
	// known; of some leaves only Path is known, with Kind [tree.KindInvalid] and no
	// DType. A load of the tree fails with the errors of all its leaves. A load that
	// leaves these leaves out, with orbax.Select or orbax.Partial for example, succeeds.
	Err error
}

// err returns Err as an error that names the leaf.
func (m *LeafMetadata) err() error {
	if m.Err == nil {
		return nil // without building the leaf's name
	}
	return fault.OfLeaf(m.Path.String(), m.Err)
}

// Spec returns the description of the leaf for package tree.
func (m *LeafMetadata) Spec() tree.Spec {
	return tree.Spec{Path: m.Path, Kind: m.Kind, DType: m.DType, Shape: m.Shape, Empty: m.Empty, Err: m.Err}
}

// Abstract returns a target for orbax.LoadAbstract that asks for the whole tree. It has
// an [array.ShapeDtypeStruct] for each array and a zero value for each other leaf.
func (m *TreeMetadata) Abstract() (any, error) {
	leaves := make([]tree.Leaf, len(m.Leaves))
	for i := range m.Leaves {
		leaves[i] = tree.Leaf{Path: m.Leaves[i].Path, Value: m.Leaves[i].abstract()}
	}
	return tree.Build(leaves)
}

// abstract returns the value that asks for the leaf as it is stored.
func (m *LeafMetadata) abstract() any {
	switch m.Kind {
	case tree.KindString:
		return ""
	case tree.KindBytes:
		return []byte(nil)
	case tree.KindEmpty:
		return m.Empty
	case tree.KindScalar:
		if zero, err := array.New(m.DType, nil, nil); err == nil {
			return scalarValue(zero)
		}
	}
	return array.ShapeDtypeStruct{Shape: m.Shape, DType: m.DType, Sharding: m.Sharding}
}
