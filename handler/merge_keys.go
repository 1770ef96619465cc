package handler

import (
	"fmt"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/tree"
)

// KeySet are the leaves of trees that are to become one. The zero value is
// empty. It must not be used by several goroutines at once.
type KeySet struct {
	leaves map[string]string // by path: the param name
	inner  map[string]bool   // by path: whether it is a sequence
	stored map[string]string // by name in the store: the path of its leaf
	texts  map[string]string // by name of a string leaf, and of what is above it in their document
}

// Add adds the leaf at p; text says that it is a string. One that cannot be
// beside those that are there is not added, and is an error that matches
// orbax.ErrKeyCollision: the same leaf, one above or below another, one of the
// same name in the store, or a key in a sequence that is a dict elsewhere.
func (s *KeySet) Add(p tree.Path, text bool) error {
	if s.leaves == nil {
		*s = KeySet{map[string]string{}, map[string]bool{}, map[string]string{}, map[string]string{}}
	}
	name, id := p.String(), pathID(p)
	if err := s.check(p, name, id, text); err != nil {
		return &fault.Leaf{Path: name, Err: err}
	}
	for i, k := range p {
		s.inner[pathID(p[:i])] = k.Seq
	}
	s.leaves[id] = name
	s.stored[joinKey(name, "")] = id
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

func (s *KeySet) check(p tree.Path, name, id string, text bool) error {
	if _, taken := s.leaves[id]; taken {
		return fmt.Errorf("%w: it is there already", fault.ErrKeyCollision)
	}
	if _, taken := s.inner[id]; taken {
		return fmt.Errorf("%w: there are leaves below it", fault.ErrKeyCollision)
	}
	for i, k := range p {
		above := pathID(p[:i])
		if name, taken := s.leaves[above]; taken {
			return fmt.Errorf("%w: %q is a leaf", fault.ErrKeyCollision, name)
		}
		if seq, known := s.inner[above]; known && seq != k.Seq {
			return fmt.Errorf("%w: %q is both a list and a dict", fault.ErrKeyCollision, p[:i].String())
		}
	}
	if other, taken := s.stored[joinKey(name, "")]; taken {
		return fmt.Errorf("%w: %q has the same name in the store", fault.ErrKeyCollision, s.leaves[other])
	}
	if !text {
		return nil
	}
	if other, taken := s.texts[name]; taken {
		return fmt.Errorf("%w: Orbax cannot hold strings named both %q and %q", fault.ErrKeyCollision, name, other)
	}
	for i := range name {
		above := name[:i]
		if text, taken := s.texts[above]; taken && name[i] == '/' && text == above {
			return fmt.Errorf("%w: Orbax cannot hold strings named both %q and %q", fault.ErrKeyCollision, above, name)
		}
	}
	return nil
}

// pathID tells paths apart by their keys; whether these are of a sequence does
// not matter, as in Orbax.
func pathID(p tree.Path) string {
	var b strings.Builder
	for _, k := range p {
		fmt.Fprintf(&b, "%d:%s", len(k.Name), k.Name)
	}
	return b.String()
}
