package inspect

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/view"
)

// diffDocument is the JSON document of a comparison.
type diffDocument struct {
	A           string     `json:"a"`
	B           string     `json:"b"`
	Equal       bool       `json:"equal"`
	Leaves      int        `json:"leaves"`
	OnlyA       []string   `json:"only_a"`
	OnlyB       []string   `json:"only_b"`
	NotCompared []string   `json:"not_compared"`
	Documents   []string   `json:"documents"`
	Differences []leafDiff `json:"differences"`
}

type leafDiff struct {
	Part   string      `json:"part"`
	Path   string      `json:"path"`
	In     []string    `json:"in"`
	A      *Leaf       `json:"a"`
	B      *Leaf       `json:"b"`
	Values *valuesDiff `json:"values"`
}

type valuesDiff struct {
	Count    int   `json:"count"`
	Elements int   `json:"elements"`
	First    []int `json:"first"`
	A        any   `json:"a"`
	B        any   `json:"b"`
	MaxAbs   any   `json:"max_abs"`
	MaxRel   any   `json:"max_rel"`
}

// Document returns the comparison as a JSON document, which the help of orbax diff
// describes.
func (c *Comparison) Document() (any, error) {
	d := c.Found
	// Use empty lists instead of null.
	doc := diffDocument{
		A: c.A, B: c.B, Equal: d.Equal(), Leaves: d.Leaves,
		OnlyA: append([]string{}, d.OnlyA...), OnlyB: append([]string{}, d.OnlyB...),
		NotCompared: append([]string{}, d.Unknown...),
		Documents:   []string{}, Differences: []leafDiff{},
	}
	for _, name := range slices.Sorted(maps.Keys(d.Documents)) {
		if d.Documents[name] {
			doc.Documents = append(doc.Documents, name)
		}
	}
	for _, part := range slices.Sorted(maps.Keys(d.Trees)) {
		for i := range d.Trees[part] {
			l, err := describeDiff(part, &d.Trees[part][i])
			if err != nil {
				return nil, err
			}
			doc.Differences = append(doc.Differences, l)
		}
	}
	return doc, nil
}

func describeDiff(part string, l *view.LeafDiff) (leafDiff, error) {
	d := leafDiff{Part: part, Path: l.Name, In: strings.Split(l.In.String(), ", ")}
	if v := l.Values; v != nil {
		d.Values = &valuesDiff{
			Count: v.Count, Elements: v.Elements, First: append([]int{}, v.First...),
			A: jsonValue(v.A), B: jsonValue(v.B), MaxAbs: finite(v.MaxAbs), MaxRel: finite(v.MaxRel),
		}
	}
	var err error
	if d.A, err = described(l.A); err != nil {
		return d, err
	}
	d.B, err = described(l.B)
	return d, err
}

// described returns a leaf as ls --json shows it. It returns nil if m is nil.
func described(m *view.LeafMetadata) (*Leaf, error) {
	if m == nil {
		return nil, nil
	}
	l, err := describeLeaf(m)
	return &l, err
}

// jsonValue returns an element or a string as a JSON value.
func jsonValue(v any) any {
	if s, ok := v.(string); ok {
		return s
	}
	a := ElementArray(v)
	if a == nil {
		return nil
	}
	return json.RawMessage(jsonElement(a.FormatElement(0), a.DType()))
}
