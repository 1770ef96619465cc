package view

import (
	"context"
	"slices"
)

// home is the checkpoint that leaves are stored in. Values of some leaves are known
// without a read, so no file can report that the checkpoint is closed; home does.
type home struct{ open func() error }

// While makes every read of the tree, and of leaves that are made from its leaves, call
// open first. If open returns an error, for example because the checkpoint has been
// closed, the read fails with it. The tree must be new, because While changes its leaves.
// Several goroutines call open.
func (t *Tree) While(open func() error) *Tree {
	homes := []*home{{open}}
	for _, l := range t.leaves {
		l.homes = homes
	}
	return t
}

// madeOf gives the leaf, which is new, the homes of all leaves that it is made from.
func (l *Leaf) madeOf(leaves ...*Leaf) *Leaf {
	for _, of := range leaves {
		for _, o := range of.homes {
			if !slices.Contains(l.homes, o) {
				l.homes = append(slices.Clip(l.homes), o)
			}
		}
	}
	return l
}

// mayRead fails if ctx has ended, or if a home of the leaves is closed.
func mayRead(ctx context.Context, leaves []*Leaf) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, l := range leaves {
		if err := l.isOpen(); err != nil {
			return err
		}
	}
	return nil
}

func (l *Leaf) isOpen() error {
	for _, o := range l.homes {
		if err := o.open(); err != nil {
			return err
		}
	}
	return nil
}
