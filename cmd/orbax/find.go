package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/view"
)

// defaultPart is the part that Orbax loads if none is named.
const defaultPart = "state"

// content is what cat can print.
type content interface {
	// print writes it for people, an array with every element if all is set.
	print(ctx context.Context, w *bufio.Writer, all bool) error
	writeRaw(ctx context.Context, w io.Writer) error
	// writeJSON writes the document that the help of cat describes.
	writeJSON(ctx context.Context, w *bufio.Writer) error
}

// storedLeaf is a leaf of an open pytree.
type storedLeaf struct {
	tree       *view.Tree
	meta       *view.LeafMetadata
	checkpoint string // its path
}

// finder looks for what paths of leaves mean in a checkpoint.
type finder struct {
	ck   *orbax.Checkpoint
	path string // of the checkpoint
}

// find returns what leaf means in an open checkpoint: a leaf of the pytree
// called name, or of the one that Orbax loads if name is ""; else, as ls prints
// it, a leaf that follows the name of its part, or a part that is a document.
func find(ctx context.Context, ck *orbax.Checkpoint, path, leaf, name string) (content, error) {
	f := &finder{ck, path}
	part, inPart, isLeaf := strings.Cut(leaf, "/")
	isPart := slices.Contains(ck.Names(), part) && (name == "" || name == part)
	t, err := openTree(ctx, ck, path, name)
	switch noTree := errors.Is(err, errNoPytree) || errors.Is(err, orbax.ErrStructure); {
	case err != nil && !(noTree && isPart):
		return nil, err
	case err == nil:
		if l := f.leaf(t, leaf); l != nil {
			return l, nil
		}
	}
	switch {
	case !isPart:
		return nil, f.noLeaf(ctx, t, name, "", leaf)
	case !isLeaf:
		return f.part(ctx, part)
	}
	if t, err = openTree(ctx, ck, path, part); err != nil {
		return nil, err
	}
	if l := f.leaf(t, inPart); l != nil {
		return l, nil
	}
	return nil, f.noLeaf(ctx, t, part, part+"/", inPart)
}

// leaf returns a leaf of t, or nil.
func (f *finder) leaf(t *view.Tree, leaf string) *storedLeaf {
	leaves := t.Metadata().Leaves
	for i := range leaves {
		if leaves[i].Path.String() == leaf {
			return &storedLeaf{t, &leaves[i], f.path}
		}
	}
	return nil
}

// part returns the document that a part is.
func (f *finder) part(ctx context.Context, name string) (content, error) {
	m, err := look(ctx, f.ck, name)
	if err != nil {
		return nil, err
	}
	if m.Tree != nil {
		return nil, f.notLeaf(name, name+"/", leafNames(m.Tree))
	}
	if kind := kindOfHandler(m.Handlers[name]); kind != kindJSON {
		return nil, fmt.Errorf("%s: checkpointable %s is of kind %s, which cannot be printed", f.path, shown(name), kind)
	}
	return readDocument(ctx, f.ck, f.path, name)
}

func leafNames(m *view.TreeMetadata) []string {
	names := make([]string, len(m.Leaves))
	for i := range m.Leaves {
		names[i] = m.Leaves[i].Path.String()
	}
	return names
}

// notLeaf says that there are leaves below a path, whose names it takes with
// what precedes them on the command line.
func (f *finder) notLeaf(path, prefix string, leaves []string) error {
	err := fmt.Errorf("%s: %s is not a leaf: it holds %s", f.path, shown(path), plural(len(leaves), "leaf"))
	return withHint(err, "such as %s; `orbax ls` lists all", prefixedList(prefix, leaves[:min(3, len(leaves))]))
}

// noLeaf says that the part called name has no such leaf, and which may have
// been meant.
func (f *finder) noLeaf(ctx context.Context, t *view.Tree, name, prefix, leaf string) error {
	names := leafNames(t.Metadata())
	var under []string
	for _, n := range names {
		if strings.HasPrefix(n, leaf+".") {
			under = append(under, n)
		}
	}
	if len(under) > 0 {
		return f.notLeaf(prefix+leaf, prefix, under)
	}
	searched, others := f.others(ctx, name, leaf)
	err := fmt.Errorf("%s: no leaf %s in checkpointable %s", f.path, shown(leaf), shown(searched))
	if len(others) > 0 {
		return withHint(err, "checkpointable %s has one: --name %s", shown(others[0]), shown(others[0]))
	}
	if near := closest(leaf, names, 3); len(near) > 0 {
		return withHint(err, "did you mean %s?", prefixedList(prefix, near))
	}
	return withHint(err, "`orbax ls` lists the leaves")
}

// others returns the name of the pytree that was searched if name was, and those
// of the others that have the leaf.
func (f *finder) others(ctx context.Context, name, leaf string) (searched string, others []string) {
	for _, n := range f.ck.Names() {
		m, err := f.ck.Metadata(ctx, orbax.Name(n))
		if err != nil || m.Tree == nil {
			continue // this is but for a hint
		}
		if name == "" && (searched == "" || n == defaultPart) {
			searched = n
		}
		if slices.Contains(leafNames(m.Tree), leaf) {
			others = append(others, n)
		}
	}
	if name != "" {
		searched = name
	}
	return searched, others
}

func shownList(names []string) string { return prefixedList("", names) }

func prefixedList(prefix string, names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = shown(prefix + n)
	}
	return strings.Join(out, ", ")
}

var errNoPytree = errors.New("no pytree")

// openTree opens the pytree called name in the checkpoint at path; "" stands for
// the one that Orbax loads.
func openTree(ctx context.Context, ck *orbax.Checkpoint, path, name string) (*view.Tree, error) {
	t, err := ck.Tree(ctx, orbax.Name(name))
	if err == nil {
		return t, nil
	}
	if name == "" {
		return nil, err
	}
	m, lookErr := look(ctx, ck, name)
	if lookErr != nil {
		return nil, lookErr
	}
	if m.Tree != nil {
		return nil, err
	}
	kind := kindOfHandler(m.Handlers[name])
	err = fmt.Errorf("%s: checkpointable %s is %w: its kind is %s", path, shown(name), errNoPytree, kind)
	if kind == kindJSON {
		return nil, withHint(err, "`orbax cat %s %s` prints it", path, shown(name))
	}
	return nil, err
}
