package guest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/go-orbax/orbax/internal/documents"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/found"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/proof"
	"github.com/go-orbax/orbax/internal/save"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/storage"
)

// part is the target of a save of one checkpointable into the directory of another
// program. Its Place is that of the checkpointable.
type part struct {
	save.Place
	dir   save.Place
	item  string // the name of the checkpointable
	stage storage.Stage
}

// Check refuses options that a part cannot have, a directory that is not a checkpoint in
// the making, and a name that is taken.
func (p *part) Check(ctx context.Context, plan *save.Plan) error {
	var errs []error
	c := plan.Config
	for option, given := range map[string]bool{
		"Overwrite": c.Overwrite, "Atomicity": c.Marker, "CustomMetadata": c.Custom != nil, "Metrics": c.Metrics != nil, "Together": c.Together,
	} {
		if given {
			errs = append(errs, fmt.Errorf("%w: %s concerns a whole checkpoint, which another program makes", fault.ErrUsage, option))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := errors.Join(p.dir.CheckOutside(ctx), p.checkUnfinished(ctx)); err != nil {
		return err
	}
	_, err := p.lookFree(ctx, p.Name)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return err
}

// checkUnfinished refuses a directory that is missing or has a complete checkpoint.
func (p *part) checkUnfinished(ctx context.Context) error {
	info, err := p.dir.Location.Stat(ctx)
	switch {
	case errors.Is(err, fs.ErrNotExist) && p.needsMarker():
		return nil // directories are there only while files are in them
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: the program that makes the checkpoint has to make its directory first", fault.ErrNotExist)
	case err != nil:
		return err
	case !info.Dir:
		return fmt.Errorf("%w: it is a file", fault.ErrInvalidCheckpoint)
	}
	_, err = p.dir.Join(layout.CommitFile).Stat(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		if found.IsTemporary(p.dir.Base()) {
			return nil
		}
		var f *found.Found
		f, err = found.Look(ctx, p.dir.Location)
		if err == nil && f.IsForeign() || errors.Is(err, fault.ErrIncomplete) || errors.Is(err, fault.ErrInvalidCheckpoint) {
			return nil // there is no document of Orbax at the top yet
		}
	}
	if err == nil || errors.Is(err, fault.ErrCorrupt) {
		return fmt.Errorf("%w: the checkpoint is complete, and no part can be added", fault.ErrExist)
	}
	return err
}

// lookFree is the [storage.Look] by which only an empty directory gives way to the part.
func (p *part) lookFree(ctx context.Context, name string) ([]storage.Item, error) {
	info, err := p.Store.Stat(ctx, name)
	if err != nil {
		return nil, err
	}
	taken := fmt.Errorf("%s: %w: checkpointable %q is there already", p.Name, fault.ErrExist, p.item)
	if !info.Dir {
		return nil, taken
	}
	entries, err := storage.Entries(ctx, p.Store, name)
	if err == nil && len(entries) > 0 {
		err = taken
	}
	return nil, err
}

// Accept refuses a part that does not fit on the disk.
func (p *part) Accept(ctx context.Context, plan *save.Plan, _ *save.Item) error {
	return plan.CheckRoom(ctx)
}

// Claim begins the stage beside the future part. So whatever a crash leaves is inside of
// the unfinished checkpoint, which its owner removes. A store that cannot rename has the
// stage in the place of the part, with a marker of its own.
func (p *part) Claim(ctx context.Context, _ *save.Plan) error {
	o := storage.BeginOptions{Replace: p.lookFree}
	if p.needsMarker() {
		o.Marker = layout.CommitFile
	}
	stage, err := p.Store.Begin(ctx, p.Name, o)
	if err == nil {
		p.stage = stage
	}
	return err
}

// Open removes the leftovers of dead writers of the part, which would become a part of the
// checkpoint.
func (p *part) Open(ctx context.Context, _ *save.Plan) (context.Context, storage.Files, error) {
	if err := proof.RemoveLeft(ctx, p.Location); err != nil {
		return nil, nil, err
	}
	return ctx, itemFiles{p.stage, p.item}, nil
}

// Publish gives the part its name.
func (p *part) Publish(ctx context.Context, plan *save.Plan) error {
	plan.Engine.Meter.Begin(transfer.Committing, 0)
	if p.needsMarker() {
		if err := plan.WriteFile(ctx, p.stage, layout.CommitFile, documents.Mark(p.stage.Properties(), p.Name)); err != nil {
			return errors.Join(err, p.stage.Abort())
		}
	}
	return p.stage.Commit(ctx)
}

func (p *part) needsMarker() bool { return p.Store.Properties().NeedsMarker() }

// Stage returns the stage, if it has been begun.
func (p *part) Stage() storage.Stage { return p.stage }

// Abort removes everything that was written.
func (p *part) Abort(why error) error {
	if p.stage == nil {
		return why
	}
	return errors.Join(why, p.stage.Abort())
}

// itemFiles is a stage that becomes the directory of an item, for a writer that puts the
// name of the item in front of all names.
type itemFiles struct {
	storage.Files
	item string
}

// in returns the name in the stage of a file or directory of the item.
func (f itemFiles) in(name string) (string, error) {
	if name == f.item {
		return ".", nil
	}
	in, ok := strings.CutPrefix(name, f.item+"/")
	if !ok {
		return "", fmt.Errorf("%w: %q is outside of the checkpointable %q", fault.ErrReservedName, name, f.item)
	}
	return in, nil
}

func (f itemFiles) Mkdir(ctx context.Context, name string) error {
	in, err := f.in(name)
	if err != nil {
		return err
	}
	return f.Files.Mkdir(ctx, in)
}

func (f itemFiles) Create(ctx context.Context, name string, size int64) (storage.Writer, error) {
	in, err := f.in(name)
	if err != nil {
		return nil, err
	}
	return f.Files.Create(ctx, in, size)
}

func (f itemFiles) Link(ctx context.Context, from, name string, o storage.LinkOptions) error {
	in, err := f.in(name)
	if err != nil {
		return err
	}
	return f.Files.Link(ctx, from, in, o)
}
