package convert

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/atomicfile"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/inspect"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/safetensors"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

// exportFile makes a safetensors file of a pytree, on the local disk.
func (c *conversion) exportFile(ctx context.Context) error {
	file, err := localFile(ctx, c.dst)
	if err != nil {
		return err
	}
	if err := c.refuseGuess(ctx); err != nil {
		return err
	}
	t, err := c.inspector().OpenTree(ctx, c.ck, c.src, c.Name, c.selection()...)
	if err != nil {
		return err
	}
	if err := t.Metadata().Err(); err != nil {
		return inspect.InCheckpoint(c.src, err)
	}
	if outer, _ := (inspect.Inspector{}).Enclosing(ctx, file); outer != "" {
		return fmt.Errorf("%s: %w: it is inside of the checkpoint %s", c.dst, orbax.ErrInvalidCheckpoint, outer)
	}
	atomicfile.RemoveDead(file)
	if err := c.mayReplaceFile(file); err != nil {
		return err
	}
	described := t.Metadata()
	c.noteUncast(described)
	if t, err = c.cast(t); err != nil {
		return inspect.InCheckpoint(c.src, err)
	}
	plan, err := c.planExport(ctx, described, t)
	if err != nil {
		return err
	}
	header, head, err := safetensors.Layout(plan.tensors, plan.metadata)
	if err != nil {
		return fmt.Errorf("%s: %w", c.dst, err)
	}
	places := make(map[string]int64, len(header.Tensors))
	total := int64(len(head))
	for _, tensor := range header.Tensors {
		places[tensor.Name] = tensor.Offset
		total += tensor.Length
	}
	if err := c.checkRoom(ctx, file, total); err != nil {
		return err
	}
	f, err := atomicfile.Create(file, total)
	if err != nil {
		return c.fileError(file, err)
	}
	defer f.Discard()
	if _, err := f.WriteAt(head, 0); err != nil {
		return c.fileError(file, err)
	}
	to := inspect.NewDestination(f)
	err = t.CopyTo(ctx, to, func(m *view.LeafMetadata) (int64, bool) {
		return places[m.Path.String()], true
	})
	if failed := to.Err(); failed != nil {
		return c.fileError(file, failed)
	}
	if err != nil {
		return inspect.InCheckpoint(c.src, err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := f.Commit(c.Overwrite); err != nil {
		return c.fileError(file, err)
	}
	c.report.Leaves, c.report.Bytes = t.Len(), plan.bytes
	return nil
}

// mayReplaceFile refuses the path of a file if something is there. With Overwrite it
// refuses only things other than regular files.
func (c *conversion) mayReplaceFile(file string) error {
	info, err := os.Lstat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return c.fileError(file, err)
	case !c.Overwrite:
		exists := fmt.Errorf("%s: %w", c.dst, orbax.ErrExist)
		if info.IsDir() {
			return exists // Overwrite does not replace a directory
		}
		return fault.Advise(exists, fault.Overwrite, "pass Overwrite to replace it")
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s: will not overwrite: not a regular file", c.dst)
	}
	return nil
}

// checkRoom refuses a file that does not fit on the disk.
func (c *conversion) checkRoom(ctx context.Context, file string, need int64) error {
	at, err := storage.Resolve(ctx, file)
	if err != nil {
		return err
	}
	room, err := at.Store.Room(ctx, at.Name) // of the directory that the file will be in
	if err != nil || room >= need {          // if the room is unknown, writing finds out
		return ctx.Err()
	}
	return fmt.Errorf("%s: %w: the file takes %s, and there is room for %s", c.dst, orbax.ErrNoSpace, fault.Size(need), fault.Size(room))
}

// refuseGuess returns an error if several pytrees could be meant.
func (c *conversion) refuseGuess(ctx context.Context) error {
	if c.Name != "" {
		return nil
	}
	m, err := c.ck.Metadata(ctx, orbax.Name(layout.DefaultName))
	if err == nil && m.Tree != nil || err != nil && !errors.Is(err, orbax.ErrNotExist) {
		return err
	}
	if m, err = inspect.Look(ctx, c.ck, ""); err != nil {
		return err
	}
	if trees := inspect.TreesAmong(m, c.ck.Names()); len(trees) > 1 {
		return &NameError{Names: trees, text: fmt.Sprintf("%s: it has several pytrees, and none is called %s: %s", c.src, layout.DefaultName, fault.List(trees))}
	}
	return nil
}

// exportPlan is the future contents of a safetensors file.
type exportPlan struct {
	tensors  []safetensors.Tensor
	metadata map[string]string
	bytes    int64
}

// cast returns the tree after the conversion to Storage.DType.
func (c *conversion) cast(t *view.Tree) (*view.Tree, error) {
	to := c.Storage.DType
	if to == array.Invalid {
		return t, nil
	}
	leaves := make([]*view.Leaf, 0, t.Len())
	for _, leaf := range t.Leaves() {
		m := leaf.Metadata()
		if isCast(m, to) {
			var err error
			if leaf, err = leaf.Cast(to); err != nil {
				return nil, err
			}
		}
		leaves = append(leaves, leaf)
	}
	return view.New("", leaves), nil
}

// planExport plans the file of the tree t. described is the description of the tree in
// its checkpoint.
func (c *conversion) planExport(ctx context.Context, described *view.TreeMetadata, t *view.Tree) (*exportPlan, error) {
	p := &exportPlan{metadata: map[string]string{}, bytes: t.Metadata().Bytes()}
	joined := described.Format == safetensorsFormat // several files become one
	var extra extraTree
	var errs []error
	sharded := 0
	for name, leaf := range t.Leaves() {
		m := leaf.Metadata()
		if !joined {
			extra.add(m)
		}
		switch m.Kind {
		case tree.KindEmpty:
			continue
		case tree.KindString:
			v, err := leaf.Load(ctx)
			if err != nil {
				return nil, inspect.InCheckpoint(c.src, err)
			}
			text, ok := v.(string)
			if _, taken := p.metadata[name]; taken || !ok || name == Entry {
				errs = append(errs, fmt.Errorf("leaf %s: a string of this name cannot be stored: %w", fault.Shown(name), orbax.ErrReservedName))
			}
			p.metadata[name] = text
			continue
		}
		if s := m.Sharding; s != nil && s.Device == "" && (s.Mesh == nil || len(s.Mesh.DeviceIDs) != 1) {
			sharded++
		}
		tensor := safetensors.Tensor{Name: name, DType: m.DType, Shape: m.Shape}
		if _, _, err := safetensors.Layout([]safetensors.Tensor{tensor}, nil); err != nil {
			errs = append(errs, err)
		}
		p.tensors = append(p.tensors, tensor)
	}
	if len(errs) > 0 {
		return nil, c.refuseExport(errs)
	}
	if sharded > 0 {
		c.report.Unsharded = sharded
	}
	if joined {
		if p.metadata = maps.Clone(described.Custom); len(p.metadata) == 0 {
			p.metadata = nil
		}
		return p, nil
	}
	if err := c.planCustom(ctx, p, &extra); err != nil {
		return nil, err
	}
	return p, nil
}

func (c *conversion) refuseExport(errs []error) error {
	err := fmt.Errorf("%s: %w", c.src, errors.Join(errs...))
	if len(errs) > 1 {
		err = inspect.InCheckpoint(c.src, errors.Join(errs...))
	}
	if errors.Is(err, orbax.ErrDType) {
		return fault.Advise(err, fault.Select, "nothing was written; Select leaves such arrays out; a Copy with Storage.PerLeaf converts single arrays of integers or floats")
	}
	return err
}

// planCustom plans the custom metadata: strings become entries, other values go to the
// reserved entry. It reports the checkpointables that are left behind.
func (c *conversion) planCustom(ctx context.Context, p *exportPlan, extra *extraTree) error {
	m, err := c.ck.Metadata(ctx, orbax.Name(c.Name))
	if err != nil {
		return err
	}
	var left []string
	for _, name := range c.ck.Names() {
		if _, ok := m.Checkpointables[name]; !ok {
			left = append(left, name)
		}
	}
	if len(left) > 0 {
		c.report.Left = left
	}
	switch custom := m.Custom.(type) {
	case nil:
	case map[string]any:
		rest := map[string]any{}
		for k, v := range custom {
			text, ok := v.(string)
			if _, taken := p.metadata[k]; !ok || taken || k == Entry {
				rest[k] = v
				continue
			}
			p.metadata[k] = text
		}
		if len(rest) > 0 {
			extra.Custom = rest
		}
	default:
		extra.Custom = custom
	}
	entry, err := extra.marshal()
	if err != nil {
		return err
	}
	if entry != "" {
		p.metadata[Entry] = entry
	}
	if len(p.metadata) == 0 {
		p.metadata = nil // as in files without metadata
	}
	return nil
}

// localFile returns the path on the local disk for a path or the URL of a file.
func localFile(ctx context.Context, path string) (string, error) {
	at, err := storage.Resolve(ctx, path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	file, ok := at.LocalPath()
	if !ok {
		return "", fmt.Errorf("%s: %w: a safetensors file is written to the local disk", path, orbax.ErrUnsupported)
	}
	return file, nil
}

// fileError puts dst in front of an error of making the file. The result matches the
// errors of package orbax.
func (c *conversion) fileError(file string, err error) error {
	if errors.Is(err, fs.ErrExist) { // something has appeared at dst since it was looked at
		if refused := c.mayReplaceFile(file); refused != nil {
			return refused
		}
	}
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &link): // from the hidden name to that of dst
		err = link.Err
	case errors.As(err, &path) && filepath.Dir(path.Path) == filepath.Dir(file): // dst or its hidden name
		err = path.Err
	}
	return fmt.Errorf("%s: %w", c.dst, fault.AsNoSpace(err))
}
