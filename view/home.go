package view

import (
	"context"
	"slices"
)

// home is what leaves are stored in, as long as it is open. Of some leaves the values
// are known before they are read, so that no file can report that it is closed.
type home struct{ open func() error }

// While makes every read of the tree, and of leaves that are made from its leaves, call
// open first and fail with its error if it returns one, for example because the
// checkpoint has been closed. The tree must be new, because While changes its leaves.
// Several goroutines call open.
func (t *Tree) While(open func() error) *Tree {
	homes := []*home{{open}}
	for _, l := range t.leaves {
		l.homes = homes
	}
	return t
}

// madeOf returns the leaf, which is new, with all homes of those that it is made of.
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

// mayRead fails if ctx has ended, or if what leaves are stored in is not open.
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
