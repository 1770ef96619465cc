package union

import (
	"cmp"
	"fmt"

	"github.com/go-orbax/orbax/internal/database"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/tree"
)

// KeySet is the set of the leaves of trees that are to become one tree. The zero value is
// empty. Only one goroutine may use it at a time.
type KeySet struct {
	root   keyNode
	stored map[string]string // by name in the store: the parameter name of its leaf
	texts  map[string]string // by name of a string leaf, and by each name above it in their document
}

// keyNode is a leaf or an inner node of a tree. A node that is neither has no keys yet.
type keyNode struct {
	leaf  bool
	below map[string]*keyNode // by key: a list and a tuple have equal keys, as in Orbax
	seq   bool                // whether below is a sequence
}

// Add adds the leaf at p. text says that the leaf is a string. If the leaf cannot exist
// beside the leaves of the set, Add leaves it out, with an error that matches
// orbax.ErrKeyCollision. The reasons are: the set has the same leaf, a leaf above or
// below it, or a leaf with the same name in the store; a key would belong both to a
// sequence and to a dict; or Orbax cannot keep two strings apart, as those named a and
// a/b.
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
