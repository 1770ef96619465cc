package transform

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

// Expr describes how a leaf is made from others; see [Set] and [Each]. Its methods return
// new expressions. An axis may be negative, as in NumPy: -1 is the last.
//
// An expression without operations is a leaf of any kind. All operations are for arrays,
// numbers and byte strings (as arrays of uint8), and none divides the last axis of PRNG
// keys.
type Expr struct{ op *op }

// op is a node of an expression: a leaf of the tree, or an operation.
type op struct {
	name, of string
	bound    *value // the leaf itself, if it is known

	text string
	args []*op
	make func(args []*view.Leaf) (*view.Leaf, error)
}

// Leaf returns the leaf called name, as the earlier rules have left it.
func Leaf(name string) Expr { return Expr{&op{name: name}} }

// Of turns a [Leaf] into the leaf with that name in another checkpointable of the
// checkpoint, as it is stored. Of changes no other expression.
func (x Expr) Of(checkpointable string) Expr {
	if x.op == nil || x.op.make != nil {
		return x
	}
	return Expr{&op{name: x.op.name, of: checkpointable}}
}

// Cast converts the elements to d; see [array.Convert].
func (x Expr) Cast(d array.DType) Expr {
	return x.then(fmt.Sprintf("cast %v", d), func(l *view.Leaf) (*view.Leaf, error) { return l.Cast(d) })
}

// Transpose changes the order of the axes: axis k of the result is axis axes[k]. Without
// axes it reverses them.
func (x Expr) Transpose(axes ...int) Expr {
	text := "transpose"
	if len(axes) > 0 {
		text = fmt.Sprint(text, " ", axes)
	}
	axes = slices.Clone(axes)
	return x.then(text, func(l *view.Leaf) (*view.Leaf, error) {
		perm := slices.Clone(axes)
		for i := range perm {
			perm[i] = axisOf(perm[i], len(axes))
		}
		return l.Transpose(perm...)
	})
}

// Reshape gives the array another shape, with its elements in row-major order. One
// dimension may be -1. An array that was joined, or whose transposed axes merge, is in
// memory as a whole while it is read; see [view.Leaf.Reshape].
func (x Expr) Reshape(shape ...int) Expr {
	shape = slices.Clone(shape)
	return x.then(fmt.Sprint("reshape ", shape), func(l *view.Leaf) (*view.Leaf, error) { return reshape(l, shape) })
}

func reshape(l *view.Leaf, shape []int) (*view.Leaf, error) {
	reshaped, err := l.Reshape(shape...)
	m := l.Metadata()
	if err == nil || m.DType == array.Invalid || m.PRNGImpl != "" {
		return reshaped, err
	}
	whole, ok := wholeShape(m.Shape, shape)
	if !ok {
		return nil, err
	}
	return view.Compute(m.Path, m.DType, whole, func(_ context.Context, args []*array.Array) (*array.Array, error) {
		return array.New(m.DType, whole, args[0].Bytes())
	}, l)
}

// wholeShape returns shape with the value that a -1 in it stands for, if an array of
// shape from can be reshaped to it.
func wholeShape(from, shape []int) ([]int, bool) {
	n, err := array.NumElements(from)
	if err != nil {
		return nil, false
	}
	whole := slices.Clone(shape)
	if i := slices.Index(whole, -1); i >= 0 {
		whole[i] = 1
		if rest, err := array.NumElements(whole); err == nil && rest > 0 {
			whole[i] = n / rest
		}
	}
	got, err := array.NumElements(whole)
	return whole, err == nil && got == n
}

// Slice takes the elements start, start+step and so on, up to but not including stop,
// along an axis.
func (x Expr) Slice(axis, start, stop, step int) Expr {
	return x.then(fmt.Sprintf("slice %d %d:%d:%d", axis, start, stop, step), func(l *view.Leaf) (*view.Leaf, error) {
		return l.Slice(axisOf(axis, len(l.Metadata().Shape)), start, stop, step)
	})
}

// Index takes element i along an axis; the result does not have that axis.
func (x Expr) Index(axis, i int) Expr {
	return x.then(fmt.Sprintf("index %d %d", axis, i), func(l *view.Leaf) (*view.Leaf, error) {
		return l.Index(axisOf(axis, len(l.Metadata().Shape)), i)
	})
}

func (x Expr) then(text string, f func(*view.Leaf) (*view.Leaf, error)) Expr {
	return Expr{&op{text: text, args: []*op{x.op}, make: func(args []*view.Leaf) (*view.Leaf, error) { return f(args[0]) }}}
}

// Concat joins arrays along an axis. They must have one dtype, and their shapes may
// differ along that axis only.
func Concat(axis int, args ...Expr) Expr {
	return join(fmt.Sprintf("concat %d", axis), args, func(l []*view.Leaf) (*view.Leaf, error) { return concat(axis, l) })
}

// Stack joins arrays of one dtype and shape along a new axis.
func Stack(axis int, args ...Expr) Expr {
	return join(fmt.Sprintf("stack %d", axis), args, func(l []*view.Leaf) (*view.Leaf, error) { return stack(axis, l) })
}

func concat(axis int, args []*view.Leaf) (*view.Leaf, error) {
	if len(args) > 0 {
		axis = axisOf(axis, len(args[0].Metadata().Shape))
	}
	return view.Concat(pathOf(args), axis, args...)
}

func stack(axis int, args []*view.Leaf) (*view.Leaf, error) {
	if len(args) > 0 {
		axis = axisOf(axis, len(args[0].Metadata().Shape)+1)
	}
	return view.Stack(pathOf(args), axis, args...)
}

// Func computes an array from others with f. The array that f returns must have dtype d
// and the given shape. f runs when the result is read, possibly more than once and in
// several goroutines, with all of args in memory. Everything else still streams.
func Func(d array.DType, shape []int, f func(ctx context.Context, args []*array.Array) (*array.Array, error), args ...Expr) Expr {
	shape = slices.Clone(shape)
	return join("func", args, func(l []*view.Leaf) (*view.Leaf, error) {
		if f == nil {
			return nil, fmt.Errorf("%w: the function is nil", fault.ErrStructure)
		}
		return view.Compute(pathOf(l), d, shape, f, l...)
	})
}

// Value returns a leaf that the program provides. v is any value that [tree.Flatten]
// makes one leaf of, such as an *array.Array, a []float32, a number or a string. It must
// not change as long as the rule, or a tree that the rule has made, is used.
func Value(v any) Expr {
	return join("value", nil, func([]*view.Leaf) (*view.Leaf, error) { return leafOf(v) })
}

func join(text string, args []Expr, f func([]*view.Leaf) (*view.Leaf, error)) Expr {
	o := &op{text: text, args: make([]*op, len(args)), make: f}
	for i, x := range args {
		o.args[i] = x.op
	}
	return Expr{o}
}

// leafOf returns the leaf of v.
func leafOf(v any) (*view.Leaf, error) {
	t, err := view.Of(v)
	if err != nil {
		return nil, err
	}
	for _, l := range t.Leaves() {
		if len(l.Metadata().Path) == 0 {
			return l, nil
		}
	}
	return nil, fmt.Errorf("%w: %T is not one leaf", fault.ErrLeafType, v)
}

// axisOf returns the axis in an array of the given rank, counted from the first.
func axisOf(axis, rank int) int {
	if axis < 0 && axis+rank >= 0 {
		return axis + rank
	}
	return axis
}

// pathOf returns the path of a leaf made from args, until it gets its own.
func pathOf(args []*view.Leaf) tree.Path {
	if len(args) == 0 {
		return nil
	}
	return args[0].Metadata().Path
}

// expr returns the content of the entry as an expression.
func (e *entry) expr() Expr { return Expr{&op{bound: &e.value}} }

// eval returns the value of an expression for the leaf target.
func (p *planner) eval(target string, o *op) value {
	switch {
	case o == nil:
		p.fail(target, fmt.Errorf("%w: the zero Expr", fault.ErrStructure))
		return value{}
	case o.bound != nil:
		return *o.bound
	case o.make == nil && o.of == "":
		return p.find(target, o.name)
	case o.make == nil:
		return p.findOther(target, o.of, o.name)
	}
	args := make([]value, len(o.args))
	for i, a := range o.args {
		args[i] = p.eval(target, a)
	}
	return p.make(target, o.text, args, o.make)
}

// make applies an operation to values.
func (p *planner) make(target, text string, args []value, f func([]*view.Leaf) (*view.Leaf, error)) value {
	leaves := make([]*view.Leaf, len(args))
	texts := make([]string, len(args))
	var from []string
	for i, a := range args {
		if a.leaf == nil {
			return value{}
		}
		leaves[i], texts[i] = a.leaf, a.text
		from = append(from, a.from...)
	}
	l, err := f(leaves)
	if err != nil && len(args) == 0 {
		p.fail(target, err)
		return value{}
	}
	if err != nil {
		p.failValue(target, err)
		return value{}
	}
	switch len(args) {
	case 0:
	case 1:
		text = texts[0] + " | " + text
	default:
		text += " (" + summary(texts, ", ") + ")"
	}
	return value{l, text, from}
}

// findOther returns a leaf of another checkpointable.
func (p *planner) findOther(target, of, name string) value {
	t := p.other(target, of)
	if t == nil {
		return value{}
	}
	l, err := t.Leaf(name)
	if err != nil {
		p.failMissing(target, fmt.Errorf("%w: there is no leaf %q in checkpointable %q", fault.ErrStructure, name, of))
		return value{}
	}
	return stored(of, l)
}

// other returns the tree of another checkpointable, or nil. It reports the reason for nil
// once for each rule, for the first leaf that needs the tree.
func (p *planner) other(target, of string) *view.Tree {
	o := p.others[of]
	if o == nil {
		o = &other{}
		if p.open != nil {
			o.tree, o.err = p.open(of)
		}
		if o.tree == nil && o.err == nil {
			o.err = fmt.Errorf("%w: there is no tree of a checkpointable %q", fault.ErrStructure, of)
		}
		p.others[of] = o
	}
	if o.err == nil {
		return o.tree
	}
	if o.rule != p.rule {
		o.rule = p.rule
		p.fail(target, o.err)
	}
	return nil
}

// reads reports whether an expression reads the leaf called name.
func (o *op) reads(name string) bool {
	if o == nil {
		return false
	}
	return o.make == nil && o.of == "" && o.bound == nil && o.name == name ||
		slices.ContainsFunc(o.args, func(a *op) bool { return a.reads(name) })
}

// quote quotes names for messages.
func quote(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = fmt.Sprintf("%q", n)
	}
	return strings.Join(quoted, ", ")
}
