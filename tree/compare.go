package tree

import "slices"

// Compare orders paths as Flatten lists them: dict keys by their bytes,
// positions by number, a path before those below it.
func (p Path) Compare(q Path) int { return slices.CompareFunc(p, q, compareKeys) }
