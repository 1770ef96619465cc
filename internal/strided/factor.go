package strided

// group is a range of neighbouring axes of the source, seen as one axis, and the axes of
// the view that walk along it. A view is the product of its groups: each index of the
// view moves inside one group and never into the next.
//
// If a view has only been cut and transposed, each axis of the source is a group. An axis
// of the view that runs over several axes of the source is split between their groups if
// it can be (a flattened box of whole rows). If it cannot (a flattened range from the
// middle of one row to the middle of another), those axes are one group.
type group struct {
	from, to int    // the axes of the source
	unit     int    // distance in the source between neighbours along the group
	start    int    // the first element of the view, in units
	axes     []axis // with src in units, largest first
}

// factor splits a view that has elements into groups, innermost first. They cover all
// axes of the source. dst is the distance of neighbours along each axis of the view; the
// dst of the groups' axes follows from it.
func (v View) factor(dst []int) []group {
	axes := v.axes(dst)
	bySource(axes)
	axes = merge(axes)

	groups := make([]group, 0, len(v.source))
	rest, unit, bound := v.offset, 1, 1
	to := len(v.source)
	for i := len(v.source) - 1; i >= 0; i-- {
		bound *= v.source[i]
		outer, inner := axes[:0:0], axes
		if i > 0 {
			var ok bool
			if outer, inner, ok = cut(axes, rest, bound); !ok {
				continue
			}
		}
		for k := range inner {
			inner[k].src /= unit
		}
		groups = append(groups, group{from: i, to: to, unit: unit, start: rest % bound / unit, axes: inner})
		axes, to = outer, i
		rest -= rest % bound
		unit = bound
	}
	return groups
}

// cut divides axes into those that move in steps of bound, and those that never leave a
// stretch of bound elements from start. It splits an axis that does both. ok is false if
// that is impossible.
func cut(axes []axis, start, bound int) (outer, inner []axis, ok bool) {
	outer, inner = make([]axis, 0, len(axes)), make([]axis, 0, len(axes))
	for _, a := range axes {
		switch {
		case a.src%bound == 0:
			outer = append(outer, a)
		case a.src < bound && (a.n-1)*a.src < bound:
			inner = append(inner, a)
		case bound%a.src == 0 && a.n%(bound/a.src) == 0:
			n := bound / a.src
			outer = append(outer, axis{a.n / n, bound, a.dst * n})
			inner = append(inner, axis{n, a.src, a.dst})
		default:
			return nil, nil, false
		}
	}
	return outer, inner, start%bound+span(inner) < bound
}

// Bounds returns a box of the source that holds all elements of the view. It is the
// smallest such box for a view made by Box, Slice, Index and Transpose, and for a view
// that Reshape has made from whole rows; for others it may be larger. For a view without
// elements the box has size 0 along every axis.
func (v View) Bounds() (off, size []int) {
	off, size = make([]int, len(v.source)), make([]int, len(v.source))
	if v.Len() == 0 {
		return off, size
	}
	for _, g := range v.factor(v.strides) {
		// All elements lie between the first and the last. After the outermost coordinate
		// in which these two differ, any coordinate may occur.
		first, last := g.start, g.start+span(g.axes)
		extent := 1
		for _, d := range v.source[g.from:g.to] {
			extent *= d
		}
		differ := false
		for i := g.from; i < g.to; i++ {
			d := v.source[i]
			extent /= d
			a, b := first/extent%d, last/extent%d
			if differ {
				a, b = 0, d-1
			}
			differ = differ || a != b
			off[i], size[i] = a, b-a+1
		}
	}
	return off, size
}
