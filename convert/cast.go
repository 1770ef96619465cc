package convert

import (
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

// isCast reports whether Storage.DType converts a leaf to the given type.
func isCast(m *view.LeafMetadata, to array.DType) bool {
	return m.Kind == tree.KindArray && m.PRNGImpl == "" && m.DType.SameClass(to)
}

// noteUncast sets Uncast in the report if Storage.DType converts no array of trees,
// because all arrays are of other classes.
func (c *conversion) noteUncast(trees ...*view.TreeMetadata) {
	to := c.Storage.DType
	if to == array.Invalid {
		return
	}
	for _, t := range trees {
		for i := range t.Leaves {
			if isCast(&t.Leaves[i], to) {
				return
			}
		}
	}
	c.report.Uncast = true
}
