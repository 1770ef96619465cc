package cli

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/inspect"
)

// maxShownValue is the number of characters of metrics and custom metadata that are
// shown.
const maxShownValue = 300

// printListing writes the listing as a table.
func printListing(w io.Writer, l *inspect.Listing) error {
	leaves, bytes, stored := 0, int64(0), int64(0)
	var trees, formats []string
	for _, p := range l.Parts {
		if p.Pytree != nil {
			trees = append(trees, p.Name)
			leaves += len(p.Leaves)
			bytes += p.Bytes
			stored += p.StoredBytes
			formats = append(formats, p.Format)
		}
	}
	rows := [][]string{{"LEAF", "KIND", "DTYPE", "SHAPE", "SIZE", "SHARDING"}}
	for _, p := range l.Parts {
		if p.Pytree == nil {
			size := ""
			if p.Error != nil {
				size = "unreadable"
			}
			rows = append(rows, []string{fault.Shown(p.Name), p.Kind, "", "", size, ""})
			continue
		}
		prefix := ""
		if len(l.Parts) > 1 {
			prefix = p.Name + "/"
		}
		for i := range p.Leaves {
			rows = append(rows, leafRow(&p.Leaves[i], prefix))
		}
	}
	b := bufio.NewWriter(w)
	table(b, rows, 4)
	if len(trees) > 0 {
		fmt.Fprintf(b, "total %s%s, %s, stored in %s (%s)\n", inspect.Plural(leaves, "leaf"), ofParts(trees), fault.Size(bytes), fault.Size(stored), strings.Join(inspect.Unique(formats), ", "))
	}
	for _, of := range []struct {
		title string
		value inspect.Values
	}{{"metrics", l.Metrics}, {"custom metadata", l.Custom}} {
		if !of.value.IsEmpty() {
			fmt.Fprintf(b, "%s %s\n", of.title, of.value.OneLine(maxShownValue))
		}
	}
	return b.Flush()
}

// ofParts names the checkpointables that leaves belong to. It returns "" if the
// checkpoint is itself the only checkpointable.
func ofParts(names []string) string {
	switch {
	case names[0] == "":
		return ""
	case len(names) == 1:
		return " of checkpointable " + fault.Shown(names[0])
	}
	return " of checkpointables " + fault.List(names)
}

// leafRow returns the row of a leaf.
func leafRow(l *inspect.Leaf, prefix string) []string {
	row := []string{fault.Shown(prefix + l.Path), l.Kind, "", "", "", ""}
	if l.DType != nil {
		row[2], row[3] = *l.DType, inspect.ShapeText(l.Shape)
	}
	if l.PRNGImpl != nil {
		row[2] = "key<" + fault.Shown(*l.PRNGImpl) + ">"
	}
	if l.DType != nil || l.Kind == "string" {
		row[4] = fault.Size(l.Bytes)
	}
	if l.Error != nil {
		row[4] = "unreadable"
	}
	switch s := l.Placement; {
	case s == nil && l.Kind == "jax.Array":
		row[5] = "unknown"
	case s != nil:
		row[5] = s.Device
		if s.Device == "" {
			row[5] = s.String()
		}
	}
	return row
}
