// Package view holds pytrees of checkpoints that have not been read: the description of
// each leaf, and the place of its bytes.
//
// Package orbax opens them (Checkpoint.Tree). A [Tree] can be inspected, reduced to some
// leaves and loaded, whole or leaf by leaf:
//
//	t, err := ck.Tree(ctx)
//	params := t.Select(func(m *view.LeafMetadata) bool { return m.Path[0].Name == "params" })
//	v, err := params.Load(ctx)
//
// A [Leaf] can be read in part. It can be sliced, transposed, joined with other leaves
// and cast before anything is read. A load then reads only the chunks that the result
// needs, straight to their places. Package transform does that by rules.
//
// # Errors
//
// The errors of trees and leaves match the classes of package orbax, such as
// orbax.ErrCorrupt, or the error of a context that has ended, or fs.ErrClosed if the
// checkpoint is closed. An error about leaves is a *orbax.LeafError, which names the
// leaf, or joins several of these; so is every error of a method of a [Leaf] that reads.
// No error is a *orbax.Error, which names the path of a checkpoint, because a tree may
// have leaves of several checkpoints.
package view

import (
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/tree"
)

// Tree is a pytree that has not been read. Several goroutines may use it.
type Tree struct {
	leaves []*Leaf               // in the order of their paths
	byName func() map[string]int // index of the leaves; the first of several with one name
	format string
	custom map[string]string
	// shardingErr is TreeMetadata.ShardingErr.
	shardingErr error
	mapper      *mapper // for loads; nil if they read
}

// New returns the tree of the given leaves. Their paths must form one tree. format
// becomes [TreeMetadata.Format].
func New(format string, leaves []*Leaf) *Tree {
	t := &Tree{leaves: slices.Clone(leaves), format: format}
	byPath := func(a, b *Leaf) int { return a.meta.Path.Compare(b.meta.Path) }
	if !slices.IsSortedFunc(t.leaves, byPath) {
		slices.SortStableFunc(t.leaves, byPath)
	}
	t.byName = sync.OnceValue(func() map[string]int { // loads do not need it
		names := make(map[string]int, len(t.leaves))
		for i, l := range slices.Backward(t.leaves) {
			names[l.meta.Path.String()] = i
		}
		return names
	})
	return t
}

// Metadata returns the description of the tree. The caller must not change its slices.
func (t *Tree) Metadata() *TreeMetadata {
	m := &TreeMetadata{Format: t.format, Custom: t.custom, ShardingErr: t.shardingErr, Leaves: make([]LeafMetadata, len(t.leaves))}
	for i, l := range t.leaves {
		m.Leaves[i] = l.meta
	}
	return m
}

// WithCustom returns the tree with custom in its [TreeMetadata].
func (t *Tree) WithCustom(custom map[string]string) *Tree {
	c := *t
	c.custom = custom
	return &c
}

// WithShardingErr returns the tree with err as the ShardingErr of its [TreeMetadata].
// Leaves that have lost their sharding because of err then have none, instead of that of
// the host.
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

// Len returns the number of leaves.
func (t *Tree) Len() int { return len(t.leaves) }

// Leaves yields the leaves in the order of their paths. Each comes with its name, which
// is the keys of its path joined with dots.
func (t *Tree) Leaves() iter.Seq2[string, *Leaf] {
	return func(yield func(string, *Leaf) bool) {
		for _, l := range t.leaves {
			if !yield(l.meta.Path.String(), l) {
				return
			}
		}
	}
}

// Leaf returns the leaf with the given name. If there is none, the error is a
// *orbax.LeafError that matches orbax.ErrStructure.
func (t *Tree) Leaf(name string) (*Leaf, error) {
	i, ok := t.byName()[name]
	if !ok {
		return nil, &fault.Leaf{Path: name, Err: fmt.Errorf("%w: the checkpoint has no such leaf", fault.ErrStructure)}
	}
	return t.leaves[i], nil
}

// specs returns the descriptions of the leaves for package tree.
func (t *Tree) specs() []tree.Spec {
	specs := make([]tree.Spec, len(t.leaves))
	for i, l := range t.leaves {
		specs[i] = l.meta.Spec()
	}
	return specs
}
