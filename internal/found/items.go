package found

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"

	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/pytree"
	"github.com/go-orbax/orbax/ocdbt"
	"github.com/go-orbax/orbax/storage"
)

// ReadDir returns the directory of an item; "" is the item without a name. unchanged is
// [Found.Unchanged], or calls it.
func (f *Found) ReadDir(name string, unchanged func(context.Context, error) error) *ckdir.ReadDir {
	return ckdir.NewReadDir(f.Place(f.At, name, unchanged))
}

// Place returns the place of the directory of an item, in the checkpoint or in a copy of
// it at root.
func (f *Found) Place(root storage.Location, name string, unchanged func(context.Context, error) error) ckdir.Place {
	var digests ckdir.Digests // an interface that holds a nil *layout.Digests would not be nil
	if f.Digests != nil {
		digests = f.Digests
	}
	return ckdir.Place{Root: root, Name: name, Digests: digests, Unchanged: unchanged}
}

// Items returns the names of the items. A checkpoint that is an item without a name has
// the one name "".
func (f *Found) Items() []string {
	if f.HasItems() {
		return f.Names
	}
	return []string{""}
}

// HasTree reports whether an item has the metadata of a pytree.
func (f *Found) HasTree(ctx context.Context, name string) (bool, error) {
	if f.IsBare() || f.Digests.Has(path.Join(name, layout.TreeFile)) {
		return true, nil
	}
	at := f.At.Join(name)
	if found, err := treeIn(ctx, at); err != nil || found {
		return found, err
	}
	return pytree.IsRandomKey(ctx, at)
}

// HandlerType returns the type of the handler that saved an item. An item with the files
// of a pytree is a pytree whatever the checkpoint records: Orbax records the handler of
// stateful objects for pytrees that it finalizes from partial saves. If nothing is
// recorded, the files decide.
func (f *Found) HandlerType(ctx context.Context, name string) (string, error) {
	typ := f.Meta.Handlers[name]
	if typ != "" && typ != layout.StatefulHandler {
		return typ, nil
	}
	isTree, err := f.HasTree(ctx, name)
	switch {
	case err != nil:
		return "", err
	case isTree:
		return "", nil
	case typ == "":
		return layout.TypeByFiles(ctx, f.At.Join(name))
	}
	return typ, nil
}

// LostTree returns an error for an item that was saved as a pytree and has lost the
// metadata of the pytree. A pytree that Orbax finalized from partial saves has the
// handler type of a stateful object; the databases of its parts identify it.
func (f *Found) LostTree(ctx context.Context, name string) error {
	typ := f.Meta.Handlers[name]
	if !isPyTree(typ) && typ != layout.StatefulHandler {
		return nil
	}
	isTree, err := f.HasTree(ctx, name)
	if err != nil || isTree {
		return err
	}
	if !isPyTree(typ) {
		entries, err := f.At.Join(name).List(ctx)
		if err != nil || !hasFile(entries, ocdbt.ManifestName) || !slices.ContainsFunc(entries, ofProcess) {
			return err
		}
	}
	if layout.IsRandomKeyType(f.Meta.Handlers[name]) {
		return fmt.Errorf("%w: the files of a random generator are missing in %s", fault.ErrCorrupt, path.Join(".", name))
	}
	return fmt.Errorf("%w: missing file %s", fault.ErrCorrupt, path.Join(name, layout.TreeFile))
}

// isPyTree reports whether a recorded handler type is that of a pytree.
func isPyTree(typ string) bool { return IsOf[handler.PyTreeHandler](typ) }

// IsOf reports whether a recorded type is that of the standard handler H.
func IsOf[H handler.Handler](typ string) bool {
	var standard *handler.Registry
	h, err := standard.ForLoad("", typ, nil)
	_, ok := h.(H)
	return err == nil && ok && standard.Knows(typ)
}

// CheckWhole returns an error if items have been lost.
func (f *Found) CheckWhole() error {
	var errs []error
	for _, name := range f.Missing {
		errs = append(errs, f.Check(name))
	}
	return errors.Join(errs...)
}

// Pending returns the error of an attempt to change a checkpoint with an unfinished
// deletion.
func (f *Found) Pending() error {
	return fmt.Errorf("%w: %w: that of its checkpointable %q; retry that first", fault.ErrBusy, fault.ErrDeletionInProgress, f.Deleting)
}

// Has reports whether there is an item called name.
func (f *Found) Has(name string) bool { return slices.Contains(f.Names, name) }

// Choose returns the item that name means, as Orbax does. For an empty name this is the
// item "state", else the first item that is a pytree. opens, if not nil, reports whether
// an item without the files of a pytree can be opened as a tree too.
func (f *Found) Choose(ctx context.Context, name string, opens func(item string) bool) (string, error) {
	switch {
	case !f.HasItems() && name != "":
		return "", fmt.Errorf("%w: it has no checkpointables with names, so none is %q; load it without a name", fault.ErrNotExist, name)
	case !f.HasItems():
		return "", nil
	case name != "":
		if err := layout.CheckName(name); err != nil {
			return "", err
		}
		return name, f.Check(name)
	case f.Item != "":
		return f.Item, nil
	}
	for _, n := range slices.Concat([]string{layout.DefaultName}, f.Names, f.Missing) {
		lost := slices.Contains(f.Missing, n) && isPyTree(f.Meta.Handlers[n])
		if lost || f.Digests.Has(path.Join(n, layout.TreeFile)) {
			return n, f.Check(n) // even if it is missing: another item must not take its place
		}
		if !f.Has(n) {
			continue
		}
		found, err := treeIn(ctx, f.At.Join(n))
		if err != nil {
			return "", err
		}
		if found || opens != nil && opens(n) {
			return n, nil
		}
	}
	for _, n := range slices.Sorted(maps.Keys(f.Meta.Handlers)) {
		if f.Has(n) && isPyTree(f.Meta.Handlers[n]) {
			return "", fmt.Errorf("%w: %s of checkpointable %q is missing", fault.ErrCorrupt, layout.TreeFile, n)
		}
	}
	return "", fmt.Errorf("%w: no pytree among its checkpointables %q", fault.ErrStructure, f.Names)
}

// PyTrees returns the sorted names of the items from which [Found.Choose] chooses.
func (f *Found) PyTrees(ctx context.Context) (names []string, err error) {
	if !f.HasItems() {
		return nil, nil
	}
	for _, n := range slices.Concat(f.Names, f.Missing) {
		is := slices.Contains(f.Missing, n) && isPyTree(f.Meta.Handlers[n]) || f.Digests.Has(path.Join(n, layout.TreeFile))
		if !is && f.Has(n) {
			if is, err = treeIn(ctx, f.At.Join(n)); err != nil {
				return nil, f.Unchanged(ctx, err)
			}
		}
		if is {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// Check returns an error if no item called name can be read.
func (f *Found) Check(name string) error {
	if name == f.Deleting && name != "" {
		return fmt.Errorf("%w: %w: that of checkpointable %q; delete it again to finish that", fault.ErrNotExist, fault.ErrDeletionInProgress, name)
	}
	if slices.Contains(f.Missing, name) {
		return fmt.Errorf("%w: the directory of checkpointable %q is missing", fault.ErrCorrupt, name)
	}
	if !f.Has(name) {
		return fmt.Errorf("%w: checkpointable %q; there are %q", fault.ErrNotExist, name, f.Names)
	}
	return nil
}
