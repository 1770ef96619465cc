package convert

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/inspect"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

// importFiles makes a checkpoint of the tree of safetensors files.
func (c *conversion) importFiles(ctx context.Context, t *view.Tree) error {
	if err := t.Metadata().Err(); err != nil {
		return inspect.InCheckpoint(c.src, err)
	}
	in := &importer{conversion: c, tensors: maps.Collect(t.Leaves()), metadata: t.Metadata().Custom}
	state, custom, err := in.read(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", c.src, err)
	}
	if err := c.mayReplace(ctx); err != nil {
		return err
	}
	c.noteUncast(t.Metadata())
	options := []orbax.SaveOption{orbax.In(c.To), orbax.Storage(c.Storage)}
	if c.Name != "" {
		options = append(options, orbax.Name(c.Name))
	}
	if c.Overwrite {
		options = append(options, orbax.Overwrite())
	}
	if custom != nil {
		options = append(options, orbax.CustomMetadata(custom))
	}
	if err := c.blame(orbax.Save(ctx, c.dst, state, options...)); err != nil {
		return err
	}
	c.report.Leaves, c.report.Bytes = in.leaves, in.bytes
	return nil
}

// importer makes a tree of tensors. The tensors stay in their files.
type importer struct {
	*conversion
	tensors  map[string]*view.Leaf
	metadata map[string]string // of the files
	leaves   int
	bytes    int64
}

// read returns the tree and the custom metadata.
func (in *importer) read(ctx context.Context) (state, custom any, err error) {
	extra := &extraTree{}
	if text, ok := in.metadata[Entry]; ok {
		if extra, err = parseExtra(text); err != nil {
			return nil, nil, err
		}
	}
	l, err := in.listed(ctx, extra)
	if err != nil {
		return nil, nil, err
	}
	leaves := l.leaves
	for _, name := range slices.Sorted(maps.Keys(in.tensors)) {
		t := in.tensors[name]
		in.bytes += t.Metadata().Bytes
		if !l.tensors[name] {
			leaves = append(leaves, tree.Leaf{Path: in.place(name, nestedPath(name, cmp.Or(in.Separator, dot))), Value: t})
		}
	}
	if len(leaves) == 0 {
		return nil, nil, fmt.Errorf("there are no tensors in it")
	}
	in.leaves = len(leaves)
	state, err = tree.Build(leaves)
	if errors.Is(err, orbax.ErrStructure) && !in.Flat {
		err = fault.Advise(fmt.Errorf("the names do not form a tree of nested dicts: %w", err), fault.Flat, "Flat keeps the names whole")
	}
	return state, in.custom(extra, l.strings), err
}

// place returns the path of a leaf in the tree: path, or name as a single key if names
// stay whole.
func (in *importer) place(name string, path tree.Path) tree.Path {
	if in.Flat {
		return tree.Path{{Name: name}}
	}
	return path
}

// listedLeaves has the leaves that the reserved entry lists, and the names of the entries
// and tensors that they are made of.
type listedLeaves struct {
	leaves           []tree.Leaf
	strings, tensors map[string]bool
}

func (in *importer) listed(ctx context.Context, extra *extraTree) (*listedLeaves, error) {
	patterns, err := tree.ParsePatterns(in.Select...)
	if err != nil {
		return nil, err
	}
	listed := &listedLeaves{strings: map[string]bool{}, tensors: map[string]bool{}}
	for i := range extra.Leaves {
		l := &extra.Leaves[i]
		name := l.path.String()
		if len(patterns) > 0 && !patterns.Match(l.path, nil) {
			continue // tensors have been selected already
		}
		value, err := in.extraValue(ctx, l, name, in.tensors[name])
		switch {
		case errors.Is(err, errGone):
			in.report.Gone = append(in.report.Gone, name)
			continue
		case err != nil:
			return nil, fmt.Errorf("%s: %w", fault.Shown(name), err)
		case l.Kind == kindString:
			listed.strings[name] = true
		case l.empty() < 0:
			listed.tensors[name] = true
		}
		listed.leaves = append(listed.leaves, tree.Leaf{Path: in.place(name, l.path), Value: value})
	}
	return listed, nil
}

// errGone reports data that another program has dropped because it did not know it.
var errGone = errors.New("not in the file")

// extraValue returns the value of a leaf that the reserved entry lists.
func (in *importer) extraValue(ctx context.Context, l *extraLeaf, name string, t *view.Leaf) (any, error) {
	if i := l.empty(); i >= 0 {
		return emptyKinds[i], nil
	}
	if l.Kind == kindString {
		text, ok := in.metadata[name]
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
		return t, nil
	}
	v, err := t.Load(ctx)
	a, ok := v.(*array.Array)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, fmt.Errorf("%w: a tensor cannot be %T", orbax.ErrCorrupt, v)
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

// custom returns the custom metadata: those in the reserved entry, and the entries that
// are not leaves. A list has no place for such entries. ToSafetensors writes none beside a
// list, but other programs do.
func (in *importer) custom(extra *extraTree, strings map[string]bool) any {
	members := map[string]any{}
	for k, v := range in.metadata {
		if k != Entry && !strings[k] {
			members[k] = v
		}
	}
	switch c := extra.Custom.(type) {
	case nil:
	case map[string]any:
		maps.Copy(c, members)
		members = c
	default:
		in.report.Dropped = slices.Sorted(maps.Keys(members))
		return c
	}
	if len(members) == 0 {
		return nil
	}
	return members
}
