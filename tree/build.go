package tree

// Build makes a value of leaves, in any order: dicts become map[string]any,
// sequences []any, None nil, other empty containers empty ones of their own
// (Tuple for EmptyTuple), all other leaves their value. A sequence all of whose
// keys are marked as a tuple's is a Tuple. A leaf at the root is
// returned bare, and without leaves the result is nil.
//
// The errors wrap orbax.ErrStructure: two leaves with one path, a leaf that is
// also a container, positions and dict keys in one container, positions that
// are not 0 to n-1.
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
