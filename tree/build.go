package tree

// Build makes a value from leaves, which may come in any order. A dict becomes a
// map[string]any. A sequence becomes a []any, or a [Tuple] if all its keys are marked as
// keys of a tuple. None becomes nil; [EmptyDict], [EmptyList] and [EmptyTuple] become an
// empty map, []any and Tuple. Every other leaf becomes its value. If the only leaf is at
// the root, Build returns its value; without leaves it returns nil.
//
// The errors wrap orbax.ErrStructure. They report two leaves with one path, a leaf that
// is also a container, positions and dict keys in one container, and positions that are
// not 0 to n-1.
func Build(leaves []Leaf) (any, error) {
	root, err := grow(len(leaves), func(i int) Path { return leaves[i].Path })
	if err != nil {
		return nil, err
	}
	return root.value(func(i int) any {
		if e, ok := leaves[i].Value.(Empty); ok {
			return e.value()
		}
		return leaves[i].Value
	}), nil
}
