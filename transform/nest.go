package transform

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/tree"
)

// Nest splits the keys of all leaves at sep and makes nested dicts of the pieces. The
// flat names of other formats become a tree in this way: with Nest(".") the tensor
// model.norm.weight of a safetensors file becomes weight in norm in model, and with
// Nest("/") the zarr array model/norm becomes norm in model. Numbers become keys of
// dicts; [RenameRegexp] can make positions of them. A key with an empty piece stays
// whole.
func Nest(sep string) Rule {
	if sep == "" {
		fails := func(p *planner) { p.doubt(doubts{made: []names{anyName}, gone: true}) }
		return Rule{text: "Nest", err: fmt.Errorf("%w: Nest divides at nothing", fault.ErrStructure), fails: fails}
	}
	return Rule{text: fmt.Sprintf("Nest %q", sep), apply: func(p *planner) {
		var old, made []*entry
		for _, e := range p.entries {
			path := nested(e.path, sep)
			if len(path) == len(e.path) {
				continue
			}
			n := &entry{name: path.String(), path: path, value: e.value, rule: p.rule, was: e.name}
			if n.leaf != nil {
				n.leaf = n.leaf.At(path)
			}
			old, made = append(old, e), append(made, n)
		}
		if len(old) == 0 {
			p.failUnused(noMatch("*"+sep+"*"), anyName, doubts{made: []names{anyName}})
		}
		p.replace(old, made)
	}}
}

// nested returns the path with its keys split at sep.
func nested(path tree.Path, sep string) (divided tree.Path) {
	for _, k := range path {
		parts := strings.Split(k.Name, sep)
		if k.Seq || slices.Contains(parts, "") {
			divided = append(divided, k)
			continue
		}
		for _, part := range parts {
			divided = append(divided, tree.Key{Name: part})
		}
	}
	return divided
}
