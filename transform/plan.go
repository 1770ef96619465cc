package transform

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

// Plan is the tree that rules make from another tree.
type Plan struct {
	tree    *view.Tree
	made    []*entry
	dropped []*entry
}

func (p *planner) plan(of *view.TreeMetadata) *Plan {
	leaves := make([]*view.Leaf, len(p.entries))
	for i, e := range p.entries {
		leaves[i] = e.leaf
	}
	// Select turns sequences that have lost elements into dicts.
	t := view.New(of.Format, leaves).WithCustom(of.Custom).WithShardingErr(of.ShardingErr).Select(func(*view.LeafMetadata) bool { return true })
	return &Plan{t, p.entries, p.dropped}
}

// Tree returns the new tree.
func (p *Plan) Tree() *view.Tree { return p.tree }

// String returns a table of the new tree. Each row shows a leaf, the stored leaves and
// the steps that make it, the dtypes and shapes of these and of the new leaf, and its
// bytes in memory; = stands for a leaf that stays as it is. Dropped leaves follow.
func (p *Plan) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "LEAF\tFROM\tSTORED AS\tBECOMES\tBYTES")
	byName := func(a, b *entry) int { return a.path.Compare(b.path) }
	kept := 0
	for _, e := range slices.SortedFunc(slices.Values(p.made), byName) {
		if e.asStored() {
			kept++
		}
		m := e.leaf.Metadata()
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\n", e.name, e.source(), summary(e.from, " + "), describe(m), m.Bytes)
	}
	for _, e := range slices.SortedFunc(slices.Values(p.dropped), byName) {
		fmt.Fprintf(w, "%s\t%s\t%s\tdropped\t0\n", e.name, e.source(), summary(e.from, " + "))
	}
	w.Flush()
	fmt.Fprintf(&b, "%d leaves of %d bytes, %d of them as they are; %d dropped\n",
		p.tree.Len(), p.tree.Metadata().Bytes(), kept, len(p.dropped))
	return b.String()
}

// asStored reports whether the entry is a leaf of the tree that no step changes.
func (e *entry) asStored() bool { return e.text == e.name }

// source returns the table's text for the origin of the entry.
func (e *entry) source() string {
	if e.asStored() {
		return "="
	}
	return e.text
}

// origin describes the origin of the entry in words.
func (e *entry) origin() string {
	if e.asStored() {
		return "a leaf, as it is stored"
	}
	return "a leaf, made from " + e.text
}

// describe describes a leaf in few characters.
func describe(m *view.LeafMetadata) string {
	switch m.Kind {
	case tree.KindArray:
		if m.PRNGImpl != "" {
			return fmt.Sprintf("key<%s>%v", m.PRNGImpl, m.Shape)
		}
		return fmt.Sprintf("%v%v", m.DType, m.Shape)
	case tree.KindScalar:
		return fmt.Sprint(m.DType)
	case tree.KindString:
		return "string"
	case tree.KindBytes:
		return fmt.Sprintf("bytes%v", m.Shape)
	case tree.KindEmpty:
		return m.Empty.String()
	}
	return "unknown"
}

// summary lists a few texts, or for more of them their number.
func summary(texts []string, between string) string {
	const most = 3
	switch n := len(texts); {
	case n == 0:
		return "-"
	case n > 1 && !slices.ContainsFunc(texts, func(s string) bool { return s != texts[0] }):
		return fmt.Sprintf("%d × %s", n, texts[0])
	case n > most:
		return fmt.Sprintf("%s%s… (%d in all)", strings.Join(texts[:most-1], between), between, n)
	}
	return strings.Join(texts, between)
}
