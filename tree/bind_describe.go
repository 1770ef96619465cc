package tree

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
)

// Advice on mismatches that an option of the load accepts.
const (
	castAdvice    = "; orbax.Cast() converts it"
	padAdvice     = "; orbax.PadOrTruncate() accepts that"
	partialAdvice = "; orbax.Partial() leaves it out"
	defaultAdvice = "; transform.Default gives it a value"
)

// reshapeAdvice says how a load can give an array the shape of the target, if both have
// the same number of elements.
func (b *binder) reshapeAdvice(spec *Spec, shape ...int) string {
	stored, err := array.NumElements(spec.Shape)
	wanted, werr := array.NumElements(shape)
	name := spec.Path.String()
	if err != nil || werr != nil || stored != wanted || slices.Equal(spec.Shape, shape) || name == "" {
		return ""
	}
	dims := strings.Trim(strings.ReplaceAll(fmt.Sprint(shape), " ", ", "), "[]")
	return fmt.Sprintf("; transform.Set(%[1]q, transform.Leaf(%[1]q).Reshape(%[2]s)) gives it this shape", name, dims)
}

func (b *binder) mismatch(dst reflect.Value, br *branch) {
	advice := ""
	if br.leaf >= 0 && b.specs[br.leaf].Kind == KindArray && dst.Kind() == reflect.Slice {
		advice = "; use *array.Array"
	}
	if br.leaf < 0 && br.seq && dst.Kind() == reflect.Slice && dst.Len() > 0 {
		advice = " (an empty one takes any length)"
	}
	b.fail(fmt.Errorf("%w: the checkpoint has %s, the target is %s%s", fault.ErrStructure, b.describe(br), b.describeTarget(dst), advice))
}

// missing reports a key of the target that the dict br lacks, and names a key of br that
// is spelled alike.
func (b *binder) missing(br *branch, k Key, dst reflect.Value) {
	advice := defaultAdvice
	if near, ok := b.spellings(br)[folded(k.Name)]; ok {
		advice = fmt.Sprintf("; it has the key %s", fault.Shown(near))
	}
	b.errs.add(append(slices.Clone(b.path), k), fmt.Errorf("%w: missing key: the checkpoint has nothing here, the target is %s%s", fault.ErrStructure, b.describeTarget(dst), advice))
}

// spellings returns the keys of a dict, indexed by their folded form.
func (b *binder) spellings(br *branch) map[string]string {
	if b.spelled.branch != br {
		b.spelled.branch, b.spelled.keys = br, make(map[string]string, len(br.kids))
		for _, kid := range br.kids {
			b.spelled.keys[folded(kid.name)] = kid.name
		}
	}
	return b.spelled.keys
}

// folded maps the names that Go, Python and JSON give one thing to one string: LayerNorm,
// layerNorm, layer_norm, layer-norm.
func folded(name string) string { return strings.ToLower(withoutMarks.Replace(name)) }

var withoutMarks = strings.NewReplacer("_", "", "-", "")

func (b *binder) unexpected(k Key, br *branch) {
	err := fmt.Errorf("%w: unexpected key: the checkpoint has %s, the target nothing%s", fault.ErrStructure, b.describe(br), partialAdvice)
	b.errs = append(b.errs, pathError{path: append(slices.Clone(b.path), k), err: err, minor: true})
}

// describe describes the checkpoint at br.
func (b *binder) describe(br *branch) string {
	switch {
	case br.leaf >= 0:
		return b.specs[br.leaf].String()
	case br.seq:
		return fmt.Sprintf("a sequence of %d", len(br.kids))
	case len(br.kids) == 1:
		return "a dict with 1 key"
	}
	return fmt.Sprintf("a dict with %d keys", len(br.kids))
}

// describeTarget describes the target at v.
func (b *binder) describeTarget(v reflect.Value) string {
	for v.Kind() == reflect.Interface && !v.IsNil() {
		v = v.Elem()
	}
	if b.exact && v.Kind() == reflect.Interface {
		return None.String()
	}
	if s, ok := abstractArray(v); ok {
		return fmt.Sprintf("an array %v", s)
	}
	if v.Kind() == reflect.Pointer && v.Type().Elem() == arrayType && !v.IsNil() {
		a := v.Interface().(*array.Array)
		return fmt.Sprintf("an array %v%v", a.DType(), a.Shape())
	}
	if a, ok := shardedIn(v); ok {
		return fmt.Sprintf("an array %v", array.Abstract(a))
	}
	if v.Kind() == reflect.Slice && v.Len() > 0 {
		return fmt.Sprintf("%v of length %d", v.Type(), v.Len())
	}
	return v.Type().String()
}
