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
	// Format is the store and array format: "ocdbt+zarr3", "files+zarr2",
	// "safetensors" ….
	Format string
	// Custom is the member __metadata__ of safetensors files.
	Custom map[string]string
	// ShardingErr says why no leaf has a Sharding though the tree was saved with
	// some: their document is damaged. It keeps nothing from being loaded.
	ShardingErr error
}

// Bytes returns the size of all leaves in memory.
func (m *TreeMetadata) Bytes() int64 {
	var n int64
	for _, l := range m.Leaves {
		n += l.Bytes
	}
	return n
}

// Err returns why a load of the whole tree would fail, as far as the documents show it:
// it joins the Err of each leaf that has one, as a *orbax.LeafError, and is nil if no
// leaf has one. Only a read of all data finds all damage; see orbax.Verify.
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
	// ValueType is Orbax's name of the kind: "jax.Array", "np.ndarray",
	// "scalar", "string", "None", "Dict", "List", "Tuple".
	ValueType string
	Empty     tree.Empty // of an empty node

	// Of arrays, scalars and byte strings:

	DType       array.DType
	Shape       []int
	ChunkShape  []int              // of the stored chunks
	WriteShape  []int              // of a jax.Array, one shard as it was written; may be nil
	Codecs      string             // how chunks are encoded
	Sharding    *sharding.Sharding // of a jax.Array; nil if none is recorded, or none can be read
	PRNGImpl    string             // of a typed PRNG key, whose key data DType and Shape describe
	Bytes       int64              // in memory
	StoredBytes int64              // as stored
	// MissingChunks is how many chunks are not stored and taken for the fill value.
	MissingChunks int

	lostSharding bool // there may be one that cannot be read

	// Err says why the leaf cannot be read: something that belongs to it alone is
	// damaged, or has a form that is not known. What else is known of the leaf is
	// here: of some leaves only Path, with a Kind of tree.KindInvalid and no DType. A
	// load of the tree fails with the errors of all its leaves; one that leaves these
	// out, with orbax.Select or orbax.Partial for example, does not.
	Err error
}

// err returns Err as an error of the leaf.
func (m *LeafMetadata) err() error {
	if m.Err == nil {
		return nil // and no name is put together
	}
	return fault.OfLeaf(m.Path.String(), m.Err)
}

// Spec returns what package tree needs to know of the leaf.
func (m *LeafMetadata) Spec() tree.Spec {
	return tree.Spec{Path: m.Path, Kind: m.Kind, DType: m.DType, Shape: m.Shape, Empty: m.Empty, Err: m.Err}
}

// Abstract returns the tree that is described, with an array.ShapeDtypeStruct for
// each array and a zero value for each other leaf: what orbax.LoadAbstract takes.
func (m *TreeMetadata) Abstract() (any, error) {
	leaves := make([]tree.Leaf, len(m.Leaves))
	for i := range m.Leaves {
		leaves[i] = tree.Leaf{Path: m.Leaves[i].Path, Value: m.Leaves[i].abstract()}
	}
	return tree.Build(leaves)
}

// abstract returns what asks for the leaf as it is stored.
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
