package transform

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/tree"
)

// node is a dict or sequence of the tree.
type node struct {
	path tree.Path
	seq  bool
}

// addNodes adds the dicts and sequences that contain e to nodes, if nodes is set.
func (p *planner) addNodes(e *entry) {
	if p.nodes == nil {
		return
	}
	for i, k := range e.path {
		name := e.path[:i].String()
		if p.nodes[name] == nil {
			p.nodes[name] = &node{e.path[:i:i], k.Seq}
		}
	}
}

// node returns the dict or sequence called name, or nil.
func (p *planner) node(name string) *node {
	if p.nodes == nil {
		p.nodes = map[string]*node{}
		for _, e := range p.entries {
			p.addNodes(e)
		}
	}
	return p.nodes[name]
}

// resolve returns the path of the name target, given to a leaf that was at source. Keys
// at the end that target shares with source keep their kind, and so do keys of dicts and
// sequences that exist.
func (p *planner) resolve(target string, source tree.Path) (tree.Path, error) {
	head, tail := target, tree.Path(nil)
	for i := len(source) - 1; i >= 0; i-- {
		end := source[i:].String()
		if end == target {
			return source[i:len(source):len(source)], nil
		}
		rest, ok := strings.CutSuffix(target, "."+end)
		if !ok {
			break
		}
		head, tail = rest, source[i:]
	}
	if target == "" {
		return nil, nil
	}
	keys, err := parseKeys(head)
	if err != nil {
		return nil, err
	}
	path, known := p.known(keys)
	for _, k := range keys[known:] {
		if n := p.node(path.String()); n != nil && n.seq && isPosition(k.Name) {
			k.Seq = true
		}
		if k.Seq {
			p.seated[path.ID()] = p.rule
		}
		path = append(path, k)
	}
	return append(path, tail...), nil
}

// known returns the path of the innermost existing dict or sequence along keys, and the
// number of keys that lead to it.
func (p *planner) known(keys tree.Path) (path tree.Path, n int) {
	for n := len(keys); n > 0; n-- {
		at := p.node(keys[:n].String())
		if at == nil {
			continue
		}
		fits := true
		for i, k := range keys[:n] {
			fits = fits && (!k.Seq || len(at.path) == n && at.path[i].Seq)
		}
		if fits {
			return at.path, n
		}
	}
	return nil, 0
}

// parseKeys parses a name that a rule gives to a leaf.
func parseKeys(name string) (tree.Path, error) {
	var keys tree.Path
	for i, s := range strings.Split(name, ".") {
		key, positions := cutPositions(s)
		if key != "" || len(positions) == 0 {
			keys = append(keys, tree.Key{Name: key})
		}
		if key == "" && (i > 0 || len(positions) == 0) {
			return nil, fmt.Errorf("%w: the name %q has an empty key", fault.ErrStructure, name)
		}
		for _, n := range positions {
			keys = append(keys, tree.Key{Name: n, Seq: true})
		}
	}
	return keys, nil
}

// cutPositions cuts positions, such as [3], off the end of a key.
func cutPositions(s string) (key string, positions []string) {
	for strings.HasSuffix(s, "]") {
		i := strings.LastIndexByte(s, '[')
		if i < 0 || !isPosition(s[i+1:len(s)-1]) {
			break
		}
		positions = append([]string{s[i+1 : len(s)-1]}, positions...)
		s = s[:i]
	}
	return s, positions
}

// isPosition reports whether s is a number in the spelling of positions.
func isPosition(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= 0 && strconv.Itoa(n) == s
}
