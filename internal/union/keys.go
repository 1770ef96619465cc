package union

import (
	"cmp"
	"fmt"

	"github.com/go-orbax/orbax/internal/database"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/tree"
)

// KeySet are the leaves of trees that are to become one. The zero value is
// empty. It must not be used by several goroutines at once.
type KeySet struct {
	root   keyNode
	stored map[string]string // by name in the store: the param name of its leaf
	texts  map[string]string // by name of a string leaf, and of what is above it in their document
}

// keyNode is a leaf, or what is above leaves. One that is neither has no keys yet.
type keyNode struct {
	leaf  bool
	below map[string]*keyNode // by key: those of a sequence do not differ, as in Orbax
	seq   bool                // whether below is a sequence
}

// Add adds the leaf at p; text says that it is a string. One that cannot be
// beside those that are there is not added, and is an error that matches
// orbax.ErrKeyCollision: the same leaf, one above or below another, one of the
// same name in the store, or a key in a sequence that is a dict elsewhere.
func (s *KeySet) Add(p tree.Path, text bool) error {
	if s.stored == nil {
		s.stored, s.texts = map[string]string{}, map[string]string{}
	}
	name := p.String()
	if err := cmp.Or(s.checkPath(p), s.checkName(name, text)); err != nil {
		return &fault.Leaf{Path: name, Err: err}
	}
	at := &s.root
	for _, k := range p {
		if at.below == nil {
			at.below, at.seq = map[string]*keyNode{}, k.Seq
		}
		if at.below[k.Name] == nil {
			at.below[k.Name] = &keyNode{}
		}
		at = at.below[k.Name]
	}
	at.leaf = true
	s.stored[database.JoinKey(name, "")] = name
	if text {
		for i := range name {
			if name[i] == '/' {
				s.texts[name[:i]] = name
			}
		}
		s.texts[name] = name
	}
	return nil
}

func (s *KeySet) checkPath(p tree.Path) error {
	at := &s.root
	for i, k := range p {
		switch {
		case at.leaf:
			return fmt.Errorf("%w: %q is a leaf", fault.ErrKeyCollision, p[:i].String())
		case at.below != nil && at.seq != k.Seq:
			return fmt.Errorf("%w: %q is both a list and a dict", fault.ErrKeyCollision, p[:i].String())
		}
		if at = at.below[k.Name]; at == nil {
			return nil
		}
	}
	switch {
	case at.leaf:
		return fmt.Errorf("%w: it is there already", fault.ErrKeyCollision)
	case at.below != nil:
		return fmt.Errorf("%w: there are leaves below it", fault.ErrKeyCollision)
	}
	return nil
}

func (s *KeySet) checkName(name string, text bool) error {
	if other, taken := s.stored[database.JoinKey(name, "")]; taken {
		return fmt.Errorf("%w: %q has the same name in the store", fault.ErrKeyCollision, other)
	}
	if !text {
		return nil
	}
	if other, taken := s.texts[name]; taken {
		return fmt.Errorf("%w: Orbax cannot hold strings named both %q and %q", fault.ErrKeyCollision, name, other)
	}
	for i := range name {
		if name[i] != '/' {
			continue
		}
		above := name[:i]
		if text, taken := s.texts[above]; taken && text == above {
			return fmt.Errorf("%w: Orbax cannot hold strings named both %q and %q", fault.ErrKeyCollision, above, name)
		}
	}
	return nil
}
