package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/inspect"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/view"
)

// copyCheckpoint makes a checkpoint of another one. Its arrays are read as they
// are written.
func (c *conversion) copyCheckpoint(ctx context.Context, ck *orbax.Checkpoint) (*converted, error) {
	names, err := c.chosen(ctx, ck)
	if err != nil {
		return nil, err
	}
	m, err := ck.CheckpointablesMetadata(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.mayReplace(ctx); err != nil {
		return nil, err
	}
	parts, done := map[string]any{}, &converted{}
	var trees []*view.TreeMetadata
	var registry handler.Registry
	for _, name := range names {
		to := name
		if name == "" {
			to = c.name
		}
		if inspect.TreeOf(m, name) == nil {
			if parts[to], err = c.copiedPart(ctx, ck, m, name, &registry); err != nil {
				return nil, err
			}
			continue
		}
		if to == "" {
			to = layout.DefaultName
		}
		t, err := inspect.OpenTree(ctx, ck, c.src, name, c.selection()...)
		if err != nil {
			return nil, err
		}
		if parts[to], err = t.Lazy(ctx); err != nil {
			return nil, inspect.InCheckpoint(c.src, err)
		}
		if err := t.Metadata().ShardingErr; err != nil {
			c.warn("the shardings of arrays are not known: %v", err)
		}
		trees = append(trees, t.Metadata())
		done.leaves += t.Len()
		done.bytes += t.Metadata().Bytes()
	}
	c.warnUncast(trees...)
	options := []orbax.SaveCheckpointablesOption{orbax.Storage(c.storage), orbax.Handlers(&registry)}
	if c.overwrite {
		options = append(options, orbax.Overwrite())
	}
	if m.Metrics != nil {
		options = append(options, orbax.Metrics(m.Metrics))
	}
	if m.Custom != nil {
		options = append(options, orbax.CustomMetadata(m.Custom))
	}
	return done, c.blame(orbax.SaveCheckpointables(ctx, c.dst, parts, options...))
}

// chosen returns the names of the parts that are copied.
func (c *conversion) chosen(ctx context.Context, ck *orbax.Checkpoint) ([]string, error) {
	names := inspect.PartNames(ck, "")
	if c.name != "" && names[0] != "" {
		if _, err := inspect.Look(ctx, ck, c.name); err != nil {
			return nil, err
		}
		names = []string{c.name}
	}
	if len(c.patterns) == 0 {
		return names, nil
	}
	m, err := inspect.Look(ctx, ck, "")
	if err != nil {
		return nil, err
	}
	trees := inspect.TreesAmong(m, names)
	switch len(trees) {
	case 0:
		return nil, usagef("--select is for pytrees, and there is none to be converted")
	case 1:
		return names, nil
	}
	return nil, withHint(usagef("--select is for one pytree, and %s has several: %s", c.src, fault.List(trees)),
		"say which, such as --name %s", fault.Shown(trees[0]))
}

func (c *conversion) selection() []orbax.LoadOption {
	options := inspect.OptionsOf[orbax.LoadOption](inspector(context.Background(), c.fill).Fill())
	if len(c.patterns) > 0 {
		options = append(options, orbax.Select(c.patterns...))
	}
	return options
}

// blame says of damage that was found by a save that it is the source's.
func (c *conversion) blame(err error) error {
	var lib *orbax.Error
	if errors.Is(err, orbax.ErrCorrupt) && errors.As(err, &lib) {
		return inspect.InCheckpoint(c.src, lib.Err)
	}
	return err
}

// documents are the kinds of parts that are one file: its names, of which Orbax's
// v1 writes the first, and v1's handler.
var documents = map[string]struct {
	files   []string
	handler handler.Handler
}{
	inspect.KindJSON:  {[]string{"data.json", "metadata"}, handler.JSONHandler{}},
	inspect.KindProto: {[]string{layout.ProtoFile}, handler.ProtoHandler{}},
}

// copiedPart returns a part that is no pytree, to be saved as it is.
func (c *conversion) copiedPart(ctx context.Context, ck *orbax.Checkpoint, m *orbax.CheckpointMetadata, name string, registry *handler.Registry) (*partFiles, error) {
	kind := inspect.KindOf(ctx, m, name)
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
		c.warn("checkpointable %s is of kind %s: its files are copied as they are", fault.Shown(name), kind)
	}
	if name == "" && c.name == "" {
		return nil, withHint(usagef("%s is one document, which needs a name in a checkpoint", c.src), "give it one, such as --name config")
	}
	if kind == inspect.KindJSON { // what is none is damaged
		if _, err := ck.Load(ctx, orbax.Name(name)); err != nil {
			return nil, err
		}
	}
	registry.Add(filesHandler{typ: p.typ})
	return p, ck.LoadInto(ctx, p, orbax.Name(name))
}
