// Package view holds pytrees that are in a checkpoint and have not been read:
// what each leaf is, and where its bytes lie.
//
// Package orbax opens them (Checkpoint.Tree). A Tree can be looked at, cut down
// and loaded, whole or leaf by leaf:
//
//	t, err := ck.Tree(ctx)
//	params := t.Select(func(m *view.LeafMetadata) bool { return m.Path[0].Name == "params" })
//	v, err := params.Load(ctx)
//
// A Leaf can be read in part, and it can be sliced, transposed, joined with
// others and cast before anything is read; only what the result needs is then
// read, chunk by chunk, straight to its place. Package transform does that by
// rules.
//
// # Errors
//
// The errors of trees and leaves match the classes of package orbax, such as
// orbax.ErrCorrupt, or the error of a context that has ended, or fs.ErrClosed if the
// checkpoint is closed. An error that is about leaves is a *orbax.LeafError, which names
// the leaf, or joins several; so is every error of a method of a [Leaf] that reads. No
// error is a *orbax.Error, which names the path of a checkpoint, because a tree may be
// made of the leaves of several checkpoints.
package view

import (
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/tree"
)

// Tree is a pytree that has not been read. It may be used by several goroutines.
type Tree struct {
	leaves []*Leaf               // in the order of their paths
	byName func() map[string]int // of the leaves; the first of those with one name
	format string
	custom map[string]string
	// shardingErr is TreeMetadata.ShardingErr.
	shardingErr error
	mapper      *mapper // of loads; nil if they read
	engine      *transfer.Engine
}

// New returns the tree of the given leaves, whose paths must be those of one
// tree. format is what TreeMetadata will call it.
func New(format string, leaves []*Leaf) *Tree {
	t := &Tree{leaves: slices.Clone(leaves), format: format}
	byPath := func(a, b *Leaf) int { return a.meta.Path.Compare(b.meta.Path) }
	if !slices.IsSortedFunc(t.leaves, byPath) {
		slices.SortStableFunc(t.leaves, byPath)
	}
	t.byName = sync.OnceValue(func() map[string]int { // loads need no names
		names := make(map[string]int, len(t.leaves))
		for i, l := range slices.Backward(t.leaves) {
			names[l.meta.Path.String()] = i
		}
		return names
	})
	return t
}

// Metadata describes the tree. Its slices must not be changed.
func (t *Tree) Metadata() *TreeMetadata {
	m := &TreeMetadata{Format: t.format, Custom: t.custom, ShardingErr: t.shardingErr, Leaves: make([]LeafMetadata, len(t.leaves))}
	for i, l := range t.leaves {
		m.Leaves[i] = l.meta
	}
	return m
}

// WithCustom returns the tree with another Custom in its TreeMetadata.
func (t *Tree) WithCustom(custom map[string]string) *Tree {
	c := *t
	c.custom = custom
	return &c
}

// WithShardingErr returns the tree with another ShardingErr in its TreeMetadata. Leaves
// that have no sharding because of it are not taken for leaves of the host.
func (t *Tree) WithShardingErr(err error) *Tree {
	c := *t
	c.shardingErr = err
	for _, l := range t.leaves {
		if err != nil && !l.meta.lostSharding {
			l.meta.lostSharding = true
		}
	}
	return &c
}

// Counted returns the tree whose loads tell e of the arrays that they give.
func (t *Tree) Counted(e *transfer.Engine) *Tree {
	c := *t
	c.engine = e
	return &c
}

// Len returns the number of leaves.
func (t *Tree) Len() int { return len(t.leaves) }

// Leaves yields the leaves in the order of their paths, each with its name: its
// path, keys joined with dots.
func (t *Tree) Leaves() iter.Seq2[string, *Leaf] {
	return func(yield func(string, *Leaf) bool) {
		for _, l := range t.leaves {
			if !yield(l.meta.Path.String(), l) {
				return
			}
		}
	}
}

// Leaf returns the leaf of the given name. That there is none is a
// *orbax.LeafError that matches orbax.ErrStructure.
func (t *Tree) Leaf(name string) (*Leaf, error) {
	i, ok := t.byName()[name]
	if !ok {
		return nil, &fault.Leaf{Path: name, Err: fmt.Errorf("%w: the checkpoint has no such leaf", fault.ErrStructure)}
	}
	return t.leaves[i], nil
}

// specs is what package tree needs to know of the leaves.
func (t *Tree) specs() []tree.Spec {
	specs := make([]tree.Spec, len(t.leaves))
	for i, l := range t.leaves {
		specs[i] = l.meta.Spec()
	}
	return specs
}
