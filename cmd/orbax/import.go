package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/safetensors"
	"github.com/go-orbax/orbax/tree"
)

// importFile makes a checkpoint of a safetensors file.
func (c *conversion) importFile(ctx context.Context) (*converted, error) {
	f, err := os.Open(c.src)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	header, err := safetensors.ReadHeader(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.src, err)
	}
	in := &importer{conversion: c, file: f, header: header}
	state, custom, err := in.read()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.src, err)
	}
	if err := c.mayReplace(); err != nil {
		return nil, err
	}
	options := []orbax.SaveOption{orbax.Storage(c.storage)}
	if c.name != "" {
		options = append(options, orbax.Name(c.name))
	}
	if c.overwrite {
		options = append(options, orbax.Overwrite())
	}
	if custom != nil {
		options = append(options, orbax.CustomMetadata(custom))
	}
	if err := orbax.Save(ctx, c.dst, state, options...); err != nil {
		return nil, err
	}
	return &converted{leaves: in.leaves, bytes: in.bytes}, nil
}

// importer makes a tree of a safetensors file, whose arrays stay in the file.
type importer struct {
	*conversion
	file   *os.File
	header *safetensors.Header
	leaves int
	bytes  int64
}

// read returns the tree and the custom metadata.
func (in *importer) read() (state, custom any, err error) {
	extra := &extraTree{}
	if text, ok := in.header.Metadata[extraKey]; ok {
		if extra, err = parseExtra(text); err != nil {
			return nil, nil, err
		}
	}
	tensors := make(map[string]*safetensors.Tensor, len(in.header.Tensors))
	for i := range in.header.Tensors {
		tensors[in.header.Tensors[i].Name] = &in.header.Tensors[i]
	}
	var leaves []tree.Leaf
	strings := map[string]bool{}
	listed := map[string]bool{}
	for i := range extra.Leaves {
		l := &extra.Leaves[i]
		name := l.path.String()
		if in.flat {
			l.path = tree.Path{{Name: name}}
		}
		value, err := in.extraValue(l, name, tensors[name])
		switch {
		case errors.Is(err, errGone):
			in.warn("%s has no %s, which its entry %s lists", in.src, shown(name), extraKey)
			continue
		case err != nil:
			return nil, nil, fmt.Errorf("%s: %w", shown(name), err)
		}
		strings[name] = strings[name] || l.Kind == kindString
		listed[name] = listed[name] || l.Kind != kindString && l.empty() < 0
		leaves = append(leaves, tree.Leaf{Path: l.path, Value: value})
	}
	for i := range in.header.Tensors {
		t := &in.header.Tensors[i]
		in.bytes += t.Length
		if listed[t.Name] {
			continue
		}
		section, err := in.section(t)
		if err != nil {
			return nil, nil, err
		}
		path := nestedPath(t.Name)
		if in.flat {
			path = tree.Path{{Name: t.Name}}
		}
		leaves = append(leaves, tree.Leaf{Path: path, Value: section})
	}
	if len(leaves) == 0 {
		return nil, nil, fmt.Errorf("there are no tensors in it")
	}
	in.leaves = len(leaves)
	state, err = tree.Build(leaves)
	if errors.Is(err, orbax.ErrStructure) && !in.flat {
		err = withHint(fmt.Errorf("the names make no tree of nested dicts: %w", err), "--flat keeps the names whole")
	}
	return state, in.custom(extra, strings), err
}

// errGone says that another program has removed what it did not know.
var errGone = errors.New("not in the file")

// extraValue returns the value of a leaf that the reserved entry lists.
func (in *importer) extraValue(l *extraLeaf, name string, t *safetensors.Tensor) (any, error) {
	if i := l.empty(); i >= 0 {
		return emptyKinds[i], nil
	}
	if l.Kind == kindString {
		text, ok := in.header.Metadata[name]
		if !ok {
			return nil, errGone
		}
		in.bytes += int64(len(text))
		return text, nil
	}
	if t == nil {
		return nil, errGone
	}
	if l.Kind == "" && l.PRNG == "" {
		return in.section(t)
	}
	a, err := in.load(t)
	switch {
	case err != nil:
		return nil, err
	case l.Kind == kindScalar:
		if a.Rank() != 0 {
			return nil, fmt.Errorf("%w: a scalar cannot be %v", orbax.ErrCorrupt, a)
		}
		if v, ok := a.Item(); ok {
			return v, nil
		}
		return a, nil // Go has no such type
	case l.Kind == kindBytes:
		if a.DType() != array.Uint8 || a.Rank() != 1 {
			return nil, fmt.Errorf("%w: a byte string cannot be %v", orbax.ErrCorrupt, a)
		}
		return a.Bytes(), nil
	}
	return array.PRNGKey(l.PRNG, a)
}

func (in *importer) section(t *safetensors.Tensor) (*array.Section, error) {
	return array.NewSection(t.DType, t.Shape, in.file, t.Offset)
}

// load reads a tensor into memory.
func (in *importer) load(t *safetensors.Tensor) (*array.Array, error) {
	a, err := array.New(t.DType, t.Shape, nil)
	if err != nil {
		return nil, err
	}
	if _, err := in.file.ReadAt(a.Bytes(), t.Offset); err != nil && len(a.Bytes()) > 0 {
		return nil, err
	}
	array.Canonicalize(t.DType, a.Bytes())
	return a, nil
}

// custom returns the custom metadata: what the reserved entry has of it, and
// the entries that are no leaves.
func (in *importer) custom(extra *extraTree, strings map[string]bool) any {
	members := map[string]any{}
	switch c := extra.Custom.(type) {
	case nil:
	case map[string]any:
		members = c
	default:
		return c // a list; files with one have no entries of their own
	}
	for k, v := range in.header.Metadata {
		if k != extraKey && !strings[k] {
			members[k] = v
		}
	}
	if len(members) == 0 {
		return nil
	}
	return members
}
