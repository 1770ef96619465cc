package sharding

import (
	"fmt"
	"iter"
	"slices"

	"github.com/go-orbax/orbax/internal/fault"
)

// Box is a part of an array: Size[i] elements from Offset[i] on, along each axis i.
type Box struct{ Offset, Size []int }

// Empty reports whether the box has no elements.
func (b Box) Empty() bool { return slices.Contains(b.Size, 0) }

// Pieces says which piece of an array each device of a sharding holds. Each place of the
// mesh has one piece; the places are numbered row-major. A [SingleDevice] is one place.
// Pieces does not change, so goroutines may share it.
type Pieces struct {
	shape   []int
	devices []int // ids, or nil
	n       int
	axes    []pieceAxis // of the array
	unused  []digit     // mesh axes along which the pieces are replicas
}

// pieceAxis says how one axis of an array is split.
type pieceAxis struct {
	parts, chunk int // number of parts, and the length of each but the last ones
	digits       []digit
}

// digit is the coordinate along one mesh axis: that of place p is p / stride % size.
type digit struct{ stride, size int }

func (d digit) of(place int) int { return place / d.stride % d.size }

// number returns the number whose digits are the coordinates of a place, the most
// significant first.
func number(digits []digit, place int) (n int) {
	for _, d := range digits {
		n = n*d.size + d.of(place)
	}
	return n
}

// Pieces returns the pieces of an array of the given shape. An axis that does not split
// into equal parts has parts of the size rounded up; the last ones are shorter, or empty.
// JAX refuses such an array. The error matches orbax.ErrShape if the spec has more entries
// than the array has axes, and orbax.ErrUnsupported for a Raw layout.
func (s *Sharding) Pieces(shape []int) (*Pieces, error) {
	if err := s.checkShape(shape); err != nil {
		return nil, err
	}
	p := &Pieces{shape: slices.Clone(shape), n: 1, axes: make([]pieceAxis, len(shape))}
	for i, d := range shape {
		p.axes[i] = pieceAxis{parts: 1, chunk: d}
	}
	if s.Mesh == nil {
		return p, nil
	}
	p.devices = s.Mesh.DeviceIDs
	digits := make(map[string]digit, len(s.Mesh.Shape))
	for i, size := range slices.Backward(s.Mesh.Shape) {
		digits[s.Mesh.AxisNames[i]] = digit{p.n, size}
		p.n *= size
	}
	used := map[string]bool{}
	for i, names := range s.Spec {
		axis := &p.axes[i]
		for _, name := range names {
			axis.digits = append(axis.digits, digits[name])
			axis.parts *= digits[name].size
			used[name] = true
		}
		axis.chunk = shape[i]/axis.parts + min(1, shape[i]%axis.parts)
	}
	for _, name := range s.Mesh.AxisNames {
		if !used[name] {
			p.unused = append(p.unused, digits[name])
		}
	}
	return p, nil
}

// checkShape checks that s can lay out an array of a shape.
func (s *Sharding) checkShape(shape []int) error {
	if err := s.Validate(); err != nil {
		return err
	}
	if s.Raw != "" {
		return fmt.Errorf("%w: sharding %s", fault.ErrUnsupported, s)
	}
	for _, d := range shape {
		if d < 0 {
			return fmt.Errorf("%w: negative dimension in %v", fault.ErrShape, shape)
		}
	}
	if len(s.Spec) > len(shape) {
		return fmt.Errorf("%w: partition spec %v has %d entries, an array of shape %v has %d axes", fault.ErrShape, s.Spec, len(s.Spec), shape, len(shape))
	}
	return nil
}

// Places returns the number of places, from 0 on.
func (p *Pieces) Places() int { return p.n }

// Device returns the id of the device at a place, or -1 if the sharding does not say which
// device is there.
func (p *Pieces) Device(place int) int {
	if p.devices == nil {
		return -1
	}
	return p.devices[place]
}

// Box returns the box of the array that the device at a place holds.
func (p *Pieces) Box(place int) Box {
	b := Box{make([]int, len(p.axes)), make([]int, len(p.axes))}
	for i, a := range p.axes {
		b.Offset[i] = min(number(a.digits, place)*a.chunk, p.shape[i])
		b.Size[i] = min(a.chunk, p.shape[i]-b.Offset[i])
	}
	return b
}

// Distinct returns the number of different pieces. Each of them is held by [Pieces.Replicas]
// devices.
func (p *Pieces) Distinct() int { return p.n / p.Replicas() }

// Number returns the number of the piece that the device at a place holds, from 0 to
// Distinct-1, in the row-major order of their offsets.
func (p *Pieces) Number(place int) (n int) {
	for _, a := range p.axes {
		n = n*a.parts + number(a.digits, place)
	}
	return n
}

// Replicas returns how many devices hold each piece.
func (p *Pieces) Replicas() int {
	n := 1
	for _, d := range p.unused {
		n *= d.size
	}
	return n
}

// Replica returns the number of the replica at a place among those of its piece, from 0 to
// Replicas-1. It is the replica_id of JAX.
func (p *Pieces) Replica(place int) int { return number(p.unused, place) }

// Find returns the number of the piece that is exactly this box; see [Pieces.Number]. ok is
// false if no device holds it.
func (p *Pieces) Find(b Box) (n int, ok bool) {
	if !p.holds(b) {
		return 0, false
	}
	for i, a := range p.axes {
		part := a.parts - 1 // for an empty box
		if b.Size[i] > 0 && a.chunk > 0 {
			part = b.Offset[i] / a.chunk
		}
		if begin := min(part*a.chunk, p.shape[i]); begin != b.Offset[i] || min(a.chunk, p.shape[i]-begin) != b.Size[i] {
			return 0, false
		}
		n = n*a.parts + part
	}
	return n, true
}

// Overlapping yields the numbers of the pieces that have elements of a box, in ascending
// order. It yields none if the box has no elements or does not lie in the array.
func (p *Pieces) Overlapping(b Box) iter.Seq[int] {
	return func(yield func(int) bool) {
		if p.holds(b) && !b.Empty() {
			p.overlapping(b, 0, 0, yield)
		}
	}
}

// holds reports whether a box lies in the array.
func (p *Pieces) holds(b Box) bool {
	if len(b.Offset) != len(p.shape) || len(b.Size) != len(p.shape) {
		return false
	}
	for i, d := range p.shape {
		if b.Offset[i] < 0 || b.Size[i] < 0 || b.Size[i] > d || b.Offset[i] > d-b.Size[i] {
			return false
		}
	}
	return true
}

// overlapping is Overlapping for the pieces whose number on the axes before axis is n.
func (p *Pieces) overlapping(b Box, axis, n int, yield func(int) bool) (more bool) {
	if axis == len(p.axes) {
		return yield(n)
	}
	a := p.axes[axis]
	for part := b.Offset[axis] / a.chunk; part <= (b.Offset[axis]+b.Size[axis]-1)/a.chunk; part++ {
		if !p.overlapping(b, axis+1, n*a.parts+part, yield) {
			return false
		}
	}
	return true
}
