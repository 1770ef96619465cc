package handler

import (
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/tree"
)

// TreeMetadata describes a stored pytree.
type TreeMetadata struct {
	// Leaves are in the order of their paths: dict keys sorted, sequences by
	// position.
	Leaves []LeafMetadata
	// Format is the store and array format: "ocdbt+zarr3", "files+zarr2" ….
	Format string
}

// Bytes returns the size of all leaves in memory.
func (m *TreeMetadata) Bytes() int64 {
	var n int64
	for _, l := range m.Leaves {
		n += l.Bytes
	}
	return n
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
	Sharding    *sharding.Sharding // of a jax.Array
	PRNGImpl    string             // of a typed PRNG key, whose key data DType and Shape describe
	Bytes       int64              // in memory
	StoredBytes int64              // as stored
}

// Spec returns what package tree needs to know of the leaf.
func (m *LeafMetadata) Spec() tree.Spec {
	return tree.Spec{Path: m.Path, Kind: m.Kind, DType: m.DType, Shape: m.Shape, Empty: m.Empty}
}

// Metadata describes the tree. Its slices must not be changed.
func (t *Tree) Metadata() *TreeMetadata {
	m := &TreeMetadata{Format: t.format, Leaves: make([]LeafMetadata, len(t.leaves))}
	for i := range t.leaves {
		m.Leaves[i] = t.leaves[i].LeafMetadata
	}
	return m
}
