package layout

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/go-orbax/orbax/internal/fault"
)

// richNode is a container in the document value_metadata_tree, which Orbax writes if its
// option support_rich_types is set. Leaves and empty containers are nil or have no kids.
// The document adds the difference between tuples and lists; everything else is in the
// rest of _METADATA too.
type richNode struct {
	tuple bool
	kids  map[string]*richNode // the children that are containers
}

// markTuples marks the keys of tuples in the paths of the leaves.
func (m *TreeMetadata) markTuples(doc string) error {
	v, err := decodeNumbers([]byte(doc))
	var root *richNode
	if err == nil {
		root, err = parseRich(v)
	}
	if err != nil {
		return fmt.Errorf("%w: %s: value_metadata_tree: %v", fault.ErrCorrupt, TreeFile, err)
	}
	for _, l := range m.Leaves {
		at := root
		for i, k := range l.Path {
			if at == nil {
				break
			}
			l.Path[i].Tuple = k.Seq && at.tuple
			at = at.kids[k.Name]
		}
	}
	return nil
}

// parseRich returns the containers at and below a node; nil for a leaf. Package json
// bounds their depth.
func parseRich(v any) (*richNode, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case []any:
		return parseRichList(v, false)
	case map[string]any:
		entries, _ := v["entries"].([]any)
		switch v["category"] {
		case "namedtuple":
			return parseRichFields(entries)
		case "custom":
			if v["clazz"] == "tuple" {
				return parseRichList(entries, true)
			}
			return nil, nil
		}
		n := &richNode{kids: make(map[string]*richNode, len(v))}
		for name, kid := range v {
			if err := n.add(name, kid); err != nil {
				return nil, err
			}
		}
		return n, nil
	}
	return nil, fmt.Errorf("a node is %T, not an object or an array", v)
}

func parseRichList(list []any, tuple bool) (*richNode, error) {
	n := &richNode{tuple: tuple, kids: make(map[string]*richNode, len(list))}
	for i, kid := range list {
		if err := n.add(strconv.Itoa(i), kid); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// parseRichFields parses the fields of a named tuple, which _METADATA has as a dict.
func parseRichFields(entries []any) (*richNode, error) {
	n := &richNode{kids: make(map[string]*richNode, len(entries))}
	for _, e := range entries {
		field, _ := e.(map[string]any)
		name, ok := field["key"].(string)
		if !ok {
			return nil, errors.New("a field of a named tuple has no name")
		}
		if err := n.add(name, field["value"]); err != nil {
			return nil, err
		}
	}
	return n, nil
}

func (n *richNode) add(name string, v any) error {
	kid, err := parseRich(v)
	if err == nil && kid != nil {
		n.kids[name] = kid
	}
	return err
}
