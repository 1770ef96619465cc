package tree

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
)

// dict plans a load into a map. The map itself keeps its identity; a nil one is
// made.
func (b *binder) dict(dst reflect.Value, br *branch) {
	t := dst.Type()
	spell := keyNamer(t.Key())
	if spell == nil {
		b.fail(fmt.Errorf("%w: %v: keys must be strings or integers", fault.ErrLeafType, t))
		return
	}
	if !b.isDict(br) {
		b.mismatch(dst, br)
		return
	}
	if dst.Len() > 0 || b.exact {
		b.dictTemplate(dst, br, spell)
		return
	}
	m := reflect.ValueOf(dst.Interface())
	if dst.IsNil() {
		m = reflect.MakeMapWithSize(t, len(br.kids))
	}
	e := makeElements(t, len(br.kids))
	for i, kid := range br.kids {
		k := Key{Name: kid.name}
		if err := setKey(e.keys.Index(i), kid.name); err != nil {
			b.errs.add(append(slices.Clone(b.path), k), err)
			continue
		}
		b.child(k, e.values.Index(i), kid.branch)
	}
	if len(br.kids) > 0 {
		b.setElements(m, e, len(br.kids), func(i int) int { return i })
	}
	if dst.IsNil() {
		b.attach(dst, m)
	}
}

// dictTemplate plans a load into a map whose elements are templates.
func (b *binder) dictTemplate(dst reflect.Value, br *branch, spell func(reflect.Value) string) {
	m := reflect.ValueOf(dst.Interface())
	e, names := elementsOf(m, spell)
	var changed []int
	found := 0
	for _, n := range names {
		v, k := e.values.Index(n.index), Key{Name: n.name}
		if kid := br.kid(n.name); kid != nil {
			found++
			if b.changes(v, func() { b.child(k, v, kid) }) {
				changed = append(changed, n.index)
			}
		} else if !isPlaceholder(v) {
			b.missing(br, k, v)
		}
	}
	if len(changed) > 0 {
		b.setElements(m, e, len(changed), func(i int) int { return changed[i] })
	}
	b.checkKeys(br, found, func(name string) bool {
		_, ok := slices.BinarySearchFunc(names, name, func(e element, name string) int { return strings.Compare(e.name, name) })
		return ok
	})
}

// setElements sets n elements of a map in finish; which maps 0 to n-1 to their numbers.
func (b *binder) setElements(m reflect.Value, e elements, n int, which func(int) int) {
	b.claimObject(m, func() any {
		all := reflect.MakeMapWithSize(m.Type(), n)
		for i := range n {
			all.SetMapIndex(e.keys.Index(which(i)), e.values.Index(which(i)))
		}
		return all.Interface()
	})
	b.commit(func() error {
		for i := range n {
			m.SetMapIndex(e.keys.Index(which(i)), e.values.Index(which(i)))
		}
		return nil
	})
}

// checkKeys reports the keys of br that the target lacks, or skips them. found is the
// number of keys of br that the target has.
func (b *binder) checkKeys(br *branch, found int, has func(name string) bool) {
	if found == len(br.kids) {
		return
	}
	for _, kid := range br.kids {
		switch {
		case has(kid.name):
		case b.Partial:
			b.skip(kid.branch)
		default:
			b.unexpected(Key{Name: kid.name}, kid.branch)
		}
	}
}

func (b *binder) structure(dst reflect.Value, br *branch) {
	switch dst.Type() {
	case bigIntType:
		b.bigInt(dst, br)
		return
	case arrayType:
		b.fail(errByValue(arrayType))
		return
	case abstractType:
		b.fail(fmt.Errorf("%w: the target is an %v, which the load replaces; put it into an interface, such as a field of type any", fault.ErrLeafType, abstractType))
		return
	}
	s := b.structOf(dst.Type())
	switch {
	case s.err != nil:
		b.fail(s.err)
	case len(s.fields) == 0 && b.Partial && !s.seq && b.isDict(br):
		b.skip(br)
	case len(s.fields) == 0:
		// Python writes an empty NamedTuple, such as optax.EmptyState, as None.
		if !b.emptyIs(br, None, EmptyDict, EmptyList, EmptyTuple) {
			b.mismatch(dst, br)
		}
	case s.seq:
		b.seqStruct(dst, s, br)
	case b.isDict(br):
		b.dictStruct(dst, s, br)
	default:
		b.mismatch(dst, br)
	}
}

func (b *binder) seqStruct(dst reflect.Value, s *structInfo, br *branch) {
	if !b.isSeq(br) || len(br.kids) != len(s.fields) {
		b.fail(fmt.Errorf("%w: the checkpoint has %s, the target is %v, a sequence of %d", fault.ErrStructure, b.describe(br), dst.Type(), len(s.fields)))
		return
	}
	for _, fd := range s.fields {
		b.child(fd.key, dst.FieldByIndex(fd.index), br.kid(fd.key.Name))
	}
}

func (b *binder) dictStruct(dst reflect.Value, s *structInfo, br *branch) {
	made := map[string]reflect.Value{}
	found := 0
	for _, fd := range s.fields {
		loc, ok := b.location(dst, fd.index, made, func(prefix []int) bool {
			return slices.ContainsFunc(s.fields, func(o field) bool {
				return br.kid(o.key.Name) != nil && len(o.index) > len(prefix) && slices.Equal(o.index[:len(prefix)], prefix)
			})
		})
		kid := br.kid(fd.key.Name)
		if kid != nil {
			found++
		}
		switch {
		case !ok:
		case kid != nil:
			b.child(fd.key, loc, kid)
		case isPlaceholder(loc):
		case fd.omitEmpty:
			b.attach(loc, reflect.Zero(loc.Type()))
		default:
			b.missing(br, fd.key, loc)
		}
	}
	b.checkKeys(br, found, func(name string) bool {
		_, ok := slices.BinarySearchFunc(s.fields, name, func(fd field, name string) int { return strings.Compare(fd.key.Name, name) })
		return ok
	})
}

// location returns the field of dst at index. It allocates embedded nil pointers on the
// way if used reports that the checkpoint has any field behind them, and keeps them in
// made. Otherwise the pointer stays nil and ok is false.
func (b *binder) location(dst reflect.Value, index []int, made map[string]reflect.Value, used func(prefix []int) bool) (loc reflect.Value, ok bool) {
	v := dst
	for i, x := range index {
		if i > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() {
				id := fmt.Sprint(index[:i])
				if _, tried := made[id]; !tried {
					made[id] = b.embed(v, used(index[:i]))
				}
				if v = made[id]; !v.IsValid() {
					return v, false
				}
			}
			v = v.Elem()
		}
		v = v.Field(x)
	}
	return v, true
}

func (b *binder) embed(v reflect.Value, used bool) reflect.Value {
	if !used {
		return reflect.Value{}
	}
	if !v.CanSet() {
		b.fail(fmt.Errorf("%w: the embedded %v is nil and its type is unexported, so that it cannot be set; set it before the load", fault.ErrLeafType, v.Type()))
		return reflect.Value{}
	}
	p := reflect.New(v.Type().Elem())
	b.attach(v, p)
	return p
}

func (b *binder) slice(dst reflect.Value, br *branch) {
	t := dst.Type()
	if t.Elem() == byteType {
		b.bytes(dst, br)
		return
	}
	if d := elemDType(t.Elem()); d != 0 {
		b.numbers(d, dst, br)
		return
	}
	n := len(br.kids)
	if !b.isSeq(br) || (dst.Len() > 0 || b.exact) && dst.Len() != n {
		b.mismatch(dst, br)
		return
	}
	s := reflect.ValueOf(dst.Interface())
	if dst.Len() == 0 {
		s = reflect.MakeSlice(t, n, n)
	}
	b.elements(s, br)
	if dst.Len() == 0 {
		b.attach(dst, s)
	}
}

func (b *binder) array(dst reflect.Value, br *branch) {
	if d := elemDType(dst.Type().Elem()); d != 0 {
		b.numbers(d, dst, br)
		return
	}
	if !b.isSeq(br) || dst.Len() != len(br.kids) {
		b.mismatch(dst, br)
		return
	}
	b.elements(dst, br)
}

func (b *binder) elements(s reflect.Value, br *branch) {
	for i, kid := range br.kids {
		b.child(Key{Name: kid.name, Seq: true}, s.Index(i), kid.branch)
	}
}
