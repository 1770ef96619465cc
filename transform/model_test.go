package transform_test

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/array"
)

// model is a tree in memory to which rules are applied in the plainest way.
type model struct {
	leaves map[string]*dense
	named  map[string]bool // by a rule
	read   []string        // by the last expression
}

// dense is an array of the model.
type dense struct {
	dtype array.DType
	shape []int
	data  []int
}

var errModel = errors.New("the model refuses it")

// at returns the element at index.
func (d *dense) at(index []int) int {
	n := 0
	for k, i := range index {
		n = n*d.shape[k] + i
	}
	return d.data[n]
}

// fill returns an array of a shape whose elements are f of their index.
func fill(d array.DType, shape []int, f func(index []int) int) *dense {
	out := &dense{dtype: d, shape: slices.Clone(shape)}
	index := make([]int, len(shape))
	if slices.Contains(shape, 0) {
		return out
	}
	for {
		out.data = append(out.data, f(index))
		k := len(shape) - 1
		for ; k >= 0; k-- {
			if index[k]++; index[k] < shape[k] {
				break
			}
			index[k] = 0
		}
		if k < 0 {
			return out
		}
	}
}

func (d *dense) array() *array.Array {
	a, err := array.New(array.Int64, d.shape, nil)
	if err != nil {
		panic(err)
	}
	v, _ := array.Values[int](a)
	copy(v, d.data)
	a, err = a.Cast(d.dtype)
	if err != nil {
		panic(err)
	}
	return a
}

func (d *dense) cast(to array.DType) *dense { return &dense{to, d.shape, d.data} }

func (d *dense) slice(axis, start, stop, step int) (*dense, error) {
	if axis < 0 {
		axis += len(d.shape)
	}
	if axis < 0 || axis >= len(d.shape) || start > stop || stop > d.shape[axis] {
		return nil, errModel
	}
	shape := slices.Clone(d.shape)
	shape[axis] = 0
	for i := start; i < stop; i += step {
		shape[axis]++
	}
	return fill(d.dtype, shape, func(index []int) int {
		from := slices.Clone(index)
		from[axis] = start + step*index[axis]
		return d.at(from)
	}), nil
}

func (d *dense) index(axis, i int) (*dense, error) {
	s, err := d.slice(axis, i, i+1, 1)
	if err != nil {
		return nil, err
	}
	if axis < 0 {
		axis += len(d.shape)
	}
	s.shape = slices.Delete(s.shape, axis, axis+1)
	return s, nil
}

func (d *dense) transpose() *dense {
	shape := slices.Clone(d.shape)
	slices.Reverse(shape)
	return fill(d.dtype, shape, func(index []int) int {
		from := slices.Clone(index)
		slices.Reverse(from)
		return d.at(from)
	})
}

func concatDense(axis int, args []*dense) (*dense, error) {
	first := args[0]
	if axis < 0 {
		axis += len(first.shape)
	}
	if axis < 0 || axis >= len(first.shape) {
		return nil, errModel
	}
	shape := slices.Clone(first.shape)
	shape[axis] = 0
	for _, a := range args {
		if a.dtype != first.dtype || len(a.shape) != len(shape) {
			return nil, errModel
		}
		for k := range shape {
			if k != axis && a.shape[k] != shape[k] {
				return nil, errModel
			}
		}
		shape[axis] += a.shape[axis]
	}
	return fill(first.dtype, shape, func(index []int) int {
		index = slices.Clone(index)
		for _, a := range args {
			if index[axis] < a.shape[axis] {
				return a.at(index)
			}
			index[axis] -= a.shape[axis]
		}
		panic("beyond the end")
	}), nil
}

func stackDense(axis int, args []*dense) (*dense, error) {
	rank := len(args[0].shape) + 1
	if axis < 0 {
		axis += rank
	}
	if axis < 0 || axis >= rank {
		return nil, errModel
	}
	grown := make([]*dense, len(args))
	for i, a := range args {
		if len(a.shape)+1 != rank {
			return nil, errModel
		}
		grown[i] = &dense{a.dtype, slices.Insert(slices.Clone(a.shape), axis, 1), a.data}
	}
	return concatDense(axis, grown)
}

// under returns the names of the leaf called name or of those below it.
func (m *model) under(name string) []string {
	var found []string
	for _, n := range slices.Sorted(maps.Keys(m.leaves)) {
		if n == name || strings.HasPrefix(n, name+".") {
			found = append(found, n)
		}
	}
	return found
}

// replace takes leaves away and adds others.
func (m *model) replace(old []string, made map[string][]*dense) error {
	for _, n := range old {
		delete(m.leaves, n)
	}
	for n, ds := range made {
		if m.leaves[n] != nil || len(ds) > 1 {
			return errModel
		}
		m.leaves[n], m.named[n] = ds[0], true
	}
	return nil
}

// valid reports whether the tree can be.
func (m *model) valid() bool {
	for n := range m.leaves {
		if len(m.under(n)) > 1 {
			return false
		}
	}
	return len(m.leaves) > 0
}
