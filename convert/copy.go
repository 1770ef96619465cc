package convert

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/config"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/inspect"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/view"
)

// copyCheckpoint makes a checkpoint of another checkpoint. It reads arrays while it
// writes them.
func (c *conversion) copyCheckpoint(ctx context.Context) error {
	names, err := c.chosen(ctx)
	if err != nil {
		return err
	}
	m, err := c.ck.CheckpointablesMetadata(ctx)
	if err != nil {
		return err
	}
	if err := c.mayReplace(ctx); err != nil {
		return err
	}
	parts := map[string]any{}
	var trees []*view.TreeMetadata
	var registry handler.Registry
	for _, name := range names {
		to := name
		if name == "" {
			to = c.Name
		}
		if inspect.TreeOf(m, name) == nil {
			if parts[to], err = c.copiedPart(ctx, m, name, &registry); err != nil {
				return err
			}
			continue
		}
		if to == "" {
			to = layout.DefaultName
		}
		t, err := c.inspector().OpenTree(ctx, c.ck, c.src, name, c.selection()...)
		if err != nil {
			return err
		}
		if parts[to], err = t.Lazy(ctx); err != nil {
			return inspect.InCheckpoint(c.src, err)
		}
		if err := t.Metadata().ShardingErr; err != nil {
			c.report.ShardingErr = err
		}
		trees = append(trees, t.Metadata())
		c.report.Leaves += t.Len()
		c.report.Bytes += t.Metadata().Bytes()
	}
	c.noteUncast(trees...)
	options := []orbax.SaveCheckpointablesOption{orbax.In(c.To), orbax.Storage(c.Storage), orbax.Handlers(&registry)}
	if c.Overwrite {
		options = append(options, orbax.Overwrite())
	}
	if m.Metrics != nil {
		options = append(options, orbax.Metrics(m.Metrics))
	}
	if m.Custom != nil {
		options = append(options, orbax.CustomMetadata(m.Custom))
	}
	return c.blame(orbax.SaveCheckpointables(ctx, c.dst, parts, options...))
}

// chosen returns the names of the checkpointables that are copied.
func (c *conversion) chosen(ctx context.Context) ([]string, error) {
	names := inspect.PartNames(c.ck, "")
	if c.Name != "" && names[0] != "" {
		if _, err := inspect.Look(ctx, c.ck, c.Name); err != nil {
			return nil, err
		}
		names = []string{c.Name}
	}
	if len(c.Select) == 0 {
		return names, nil
	}
	m, err := inspect.Look(ctx, c.ck, "")
	if err != nil {
		return nil, err
	}
	trees := inspect.TreesAmong(m, names)
	switch len(trees) {
	case 0:
		return nil, &OptionError{Option: "Select", Text: "is for pytrees, and there is none to be converted"}
	case 1:
		return names, nil
	}
	return nil, &OptionError{Option: "Select", Text: fmt.Sprintf("is for one pytree, and %s has several: %s", c.src, fault.List(trees)), Names: trees}
}

// blame attributes damage that a save has found to the source.
func (c *conversion) blame(err error) error {
	var lib *orbax.Error
	if errors.Is(err, orbax.ErrCorrupt) && errors.As(err, &lib) {
		return inspect.InCheckpoint(c.src, lib.Err)
	}
	return err
}

// documents has the kinds of checkpointables that are one file: the names of the file,
// the first of which Orbax v1 writes, and the handler of v1.
var documents = map[string]struct {
	files   []string
	handler handler.Handler
}{
	inspect.KindJSON:  {layout.JSONFiles, handler.JSONHandler{}},
	inspect.KindProto: {[]string{layout.ProtoFile}, handler.ProtoHandler{}},
}

// copiedPart returns a checkpointable that is not a pytree, to be saved unchanged.
func (c *conversion) copiedPart(ctx context.Context, m *orbax.CheckpointMetadata, name string, registry *handler.Registry) (*partFiles, error) {
	kind := c.inspector().KindOf(ctx, m, name)
	p := &partFiles{typ: m.Handlers[name]}
	doc, isDocument := documents[kind]
	switch {
	case isDocument:
		p.typ, p.only = doc.handler.Type(), doc.files
	case name == "":
		return nil, fmt.Errorf("%s: it is of kind %s, which cannot be converted", c.src, kind)
	case kind == inspect.KindStateful:
		p.typ = handler.StatefulHandler{}.Type()
	default:
		if c.report.Opaque == nil {
			c.report.Opaque = map[string]string{}
		}
		c.report.Opaque[name] = kind
	}
	if name == "" && c.Name == "" {
		return nil, &NameError{text: c.src + " is one document, which needs a name in a checkpoint"}
	}
	if kind == inspect.KindJSON { // a document that is not JSON is damaged
		if _, err := c.ck.Load(ctx, orbax.Name(name)); err != nil {
			return nil, err
		}
	}
	registry.Add(filesHandler{typ: p.typ})
	var err error
	p.dir, err = c.ck.Files(name)
	return p, err
}

// mayReplace refuses the path of a checkpoint if something is there.
func (c *conversion) mayReplace(ctx context.Context) error {
	if c.Overwrite {
		return nil // the save checks the checkpoint that it replaces
	}
	at, err := config.Locate(ctx, c.To, c.dst)
	if err != nil {
		return fmt.Errorf("%s: %w", c.dst, err)
	}
	info, err := at.Stat(ctx)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Dir:
		return fmt.Errorf("%s: %w, and is not a directory, as a checkpoint is", c.dst, orbax.ErrExist)
	}
	exists := fmt.Errorf("%s: %w", c.dst, orbax.ErrExist)
	if ok, _ := orbax.IsCheckpoint(ctx, c.dst, orbax.In(c.To)); !ok {
		return exists // Overwrite might be refused too
	}
	return fault.Advise(exists, fault.Overwrite, "pass Overwrite to replace it")
}
