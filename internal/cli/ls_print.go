package cli

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
)

// maxShownValue is how many characters are shown of metrics and of custom metadata.
const maxShownValue = 300

// print writes the listing as a table.
func (l *listing) print(w io.Writer) error {
	leaves, bytes, stored := 0, int64(0), int64(0)
	var trees, formats []string
	for _, p := range l.Parts {
		if p.pytree != nil {
			trees = append(trees, p.Name)
			leaves += len(p.Leaves)
			bytes += p.Bytes
			stored += p.StoredBytes
			formats = append(formats, p.Format)
		}
	}
	rows := [][]string{{"LEAF", "KIND", "DTYPE", "SHAPE", "SIZE", "SHARDING"}}
	for _, p := range l.Parts {
		if p.pytree == nil {
			size := ""
			if p.Error != nil {
				size = "unreadable"
			}
			rows = append(rows, []string{shown(p.Name), p.Kind, "", "", size, ""})
			continue
		}
		prefix := ""
		if len(l.Parts) > 1 {
			prefix = p.Name + "/"
		}
		for i := range p.Leaves {
			rows = append(rows, p.Leaves[i].row(prefix))
		}
	}
	b := bufio.NewWriter(w)
	table(b, rows, 4)
	if len(trees) > 0 {
		fmt.Fprintf(b, "total %s%s, %s, stored in %s (%s)\n", plural(leaves, "leaf"), ofParts(trees), fault.Size(bytes), fault.Size(stored), strings.Join(unique(formats), ", "))
	}
	for _, of := range []struct {
		title string
		value jsonValues
	}{{"metrics", l.Metrics}, {"custom metadata", l.Custom}} {
		if !of.value.isEmpty() {
			fmt.Fprintf(b, "%s %s\n", of.title, of.value.oneLine(maxShownValue))
		}
	}
	return b.Flush()
}

// ofParts names the parts that leaves belong to. If the checkpoint is itself the only part,
// it returns "".
func ofParts(names []string) string {
	switch {
	case names[0] == "":
		return ""
	case len(names) == 1:
		return " of part " + shown(names[0])
	}
	return " of parts " + fault.List(names)
}

func (l *leaf) row(prefix string) []string {
	row := []string{shown(prefix + l.Path), l.Kind, "", "", "", ""}
	if l.DType != nil {
		row[2], row[3] = *l.DType, shapeText(l.Shape)
	}
	if l.PRNGImpl != nil {
		row[2] = "key<" + shown(*l.PRNGImpl) + ">"
	}
	if l.DType != nil || l.Kind == kindString {
		row[4] = fault.Size(l.Bytes)
	}
	if l.Error != nil {
		row[4] = "unreadable"
	}
	switch s := l.sharding; {
	case s == nil && l.Kind == "jax.Array":
		row[5] = "unknown"
	case s != nil:
		row[5] = s.Device
		if s.Device == "" {
			row[5] = s.String()
		}
		row[5] = shown(row[5])
	}
	return row
}

// shapeText returns a shape as in Python: "[2, 3]".
func shapeText(shape []int) string { return strings.ReplaceAll(fmt.Sprint(shape), " ", ", ") }

// unique drops repetitions.
func unique(list []string) []string {
	var out []string
	seen := map[string]bool{}
	for _, s := range list {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}
