package orbax

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/config"
	"github.com/go-orbax/orbax/internal/database"
	"github.com/go-orbax/orbax/internal/documents"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/frozen"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/proof"
	"github.com/go-orbax/orbax/internal/pytree"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/internal/union"
	"github.com/go-orbax/orbax/ocdbt"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/view"
)

// RepairReport is the result of [Repair]. It is about indexes only: a checkpoint in which
// Repair finds no damage may have other damage, which [Verify] finds.
type RepairReport struct {
	// Trees are the pytrees whose arrays are in databases of several processes, in the
	// order of their names. Other pytrees do not need the index that Repair makes.
	Trees []TreeRepair
	// Written says that every damaged tree has been repaired.
	Written bool
	// Finished says what Repair has finished or undone of the work of a writer that had
	// died; "" if there was none. It is known even if Repair fails afterwards.
	Finished string
}

// TreeRepair is the result of [Repair] for one pytree.
type TreeRepair struct {
	Name      string   // of the checkpointable; "" if the checkpoint is a single one
	Databases []string // of processes, in order
	Keys      int      // that they have together; 0 if nothing is damaged
	// Damage is the error in the index that unites the databases, or in the documents and
	// file sizes that it refers to; nil if there is none. Array data is not read.
	Damage error
	// Obstacle is the reason why no index can be made, or nil: two databases differ in a
	// key, one is damaged, or arrays lack chunks, all of which the error names.
	Obstacle error
}

// RepairOption is an option of [Repair]: [WriteRepairs], [FollowLinks] or [In].
type RepairOption interface{ applyRepair(*repairConfig) }

type repairConfig struct {
	config.Open
	write bool
}

type repairOption func(*repairConfig)

func (o repairOption) applyRepair(c *repairConfig) { o(c) }

// WriteRepairs lets [Repair] write. Without it Repair only reports.
func WriteRepairs() RepairOption { return repairOption(func(c *repairConfig) { c.write = true }) }

// Repair rebuilds the index of a checkpoint that several processes have written, each
// into its own database. In such a checkpoint the database that unites them may be
// missing, damaged or incomplete, because its writer died before it was made, or because
// it was lost. Orbax cannot load such a checkpoint. This package can if nothing else is
// wrong, except if the index is damaged.
//
// Repair reads the sources of an index: the databases of the processes, and the documents
// of the tree. It also checks whether every chunk has a place in a file that is long
// enough. It does not read array data, and nothing of checkpoints that one process has
// written; [Verify] does.
//
// Repair writes nothing without [WriteRepairs], or if any damage cannot be repaired. The
// repaired checkpoint replaces the damaged one in one step. It has the same files except
// the index and its digests; the store links these if it can, and copies them otherwise.
// So where the old one had a symbolic link, it has the directory or the file that the link
// leads to. Repair removes the link and leaves that directory or file unchanged.
//
// In an object store a writer that dies may leave an exchange of two checkpoints
// unfinished. With WriteRepairs, Repair finishes it before anything else, and undoes a save
// that was not so far. Until the claim of that writer has ended, the error matches
// [ErrBusy].
//
// The error is about reading and writing. The report describes the damage to the
// checkpoint. If Repair was to write and cannot repair it, the error matches
// [ErrCorrupt].
func Repair(ctx context.Context, path string, options ...RepairOption) (*RepairReport, error) {
	cfg := &repairConfig{}
	for _, o := range options {
		if o != nil {
			o.applyRepair(cfg)
		}
	}
	finished := ""
	if cfg.write {
		work, err := finishDead(ctx, cfg.Store, path)
		if err != nil {
			return nil, wrap(ctx, "repair", path, err)
		}
		if work != nil {
			finished = work.Recovered()
		}
	}
	ck, err := Open(ctx, path, openingOf(&cfg.Open)...)
	if err != nil {
		if finished != "" {
			return &RepairReport{Finished: finished}, err
		}
		return nil, err
	}
	defer ck.Close()
	report, err := ck.repair(ctx, cfg.write)
	if report != nil {
		report.Finished = finished
	}
	return report, wrap(ctx, "repair", path, err)
}

// finishDead lets an object store finish what a dead writer of a path has begun there: the
// exchange of two checkpoints. A save that was not so far is undone. finishDead returns
// what that writer had begun.
func finishDead(ctx context.Context, store storage.Store, path string) (*storage.Work, error) {
	at, err := config.Locate(ctx, store, path)
	if err != nil {
		return nil, nil // Open reports the error
	}
	if work, err := at.Store.Work(ctx, at.Name); work == nil || err != nil {
		return nil, err
	}
	edit, err := at.Store.Edit(ctx, at.Name)
	switch {
	case errors.Is(err, fs.ErrNotExist): // the writer was alive, and has ended
		return nil, nil
	case err != nil:
		return nil, err
	}
	return edit.Recovered(), edit.Close()
}

func (c *Checkpoint) repair(ctx context.Context, write bool) (*RepairReport, error) {
	if err := c.found.ErrItem(); err != nil {
		return nil, err
	}
	if info, err := c.found.At.Stat(ctx); err == nil && !info.Dir {
		return nil, fmt.Errorf("%w: it is a file", fault.ErrInvalidCheckpoint)
	}
	report := &RepairReport{}
	unions := map[string]*union.Union{} // of the damaged trees
	var obstacles []error
	for _, name := range c.found.Items() {
		if isTree, err := c.found.HasTree(ctx, name); err != nil {
			return nil, err
		} else if !isTree {
			continue
		}
		dir := c.itemDir(name)
		names, err := database.Names(ctx, dir)
		if err != nil {
			return nil, err
		}
		if len(names) == 0 {
			continue
		}
		t := TreeRepair{Name: name, Databases: names, Damage: c.indexDamage(ctx, name)}
		if t.Damage != nil && !fault.IsFinding(t.Damage) {
			return nil, fault.InItem(name, t.Damage)
		}
		if t.Damage != nil {
			unions[name], t.Obstacle = union.Open(ctx, union.Input{Dir: dir})
		}
		if t.Obstacle != nil && !fault.IsFinding(t.Obstacle) {
			return nil, fault.InItem(name, t.Obstacle)
		}
		if t.Obstacle != nil {
			obstacles = append(obstacles, fault.InItem(name, t.Obstacle))
		} else if t.Damage != nil {
			t.Keys = unions[name].Keys()
		}
		report.Trees = append(report.Trees, t)
	}
	if err := c.unchanged(ctx, ctx.Err()); err != nil {
		return nil, err
	}
	if !write || len(unions) == 0 {
		return report, nil
	}
	err := errors.Join(obstacles...)
	if err == nil {
		err = c.rewrite(ctx, unions)
	}
	report.Written = err == nil
	return report, err
}

// indexDamage returns what keeps Orbax from loading a tree by its index.
func (c *Checkpoint) indexDamage(ctx context.Context, name string) error {
	_, err := c.found.At.Join(name, ocdbt.ManifestName).Stat(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s is missing", fault.ErrCorrupt, path.Join(name, ocdbt.ManifestName))
	}
	if err == nil {
		var t *view.Tree
		if t, err = pytree.Open(ctx, c.itemDir(name), pytree.Options{}); err == nil {
			err = t.Metadata().Err()
		}
	}
	return err
}

// rewrite puts a checkpoint with new indexes in the place of this one.
func (c *Checkpoint) rewrite(ctx context.Context, unions map[string]*union.Union) error {
	if c.found.IsForeign() {
		return fmt.Errorf("%w: it is not a checkpoint of Orbax", fault.ErrUnsupported)
	}
	if c.found.Recorded {
		return c.found.Pending()
	}
	c.found = c.found.Live()
	at := c.found.At
	o := storage.BeginOptions{Replace: proof.Checkpoint(at.Store)}
	if at.Store.Properties().NeedsMarker() {
		o.Marker = layout.CommitFile
	}
	stage, err := at.Store.Begin(ctx, at.Name, o)
	if err != nil {
		return err
	}
	// What the store fails to find for once must not be missing from what takes the
	// place of the checkpoint.
	old, err := frozen.New(ctx, at)
	if err == nil {
		err = c.writeRepaired(ctx, stage, old, unions)
	}
	if err == nil {
		if o.Marker == "" {
			err = old.Unchanged(ctx)
		} else { // the store may have the new files beside the old ones
			err = old.Kept(ctx)
		}
	}
	if err = c.unchanged(ctx, err); err != nil {
		return errors.Join(err, stage.Abort())
	}
	if err := stage.Commit(ctx); err != nil || o.Marker == "" {
		return err
	}
	if err := c.checkRepaired(ctx, at, unions); err != nil { // it cannot be read before
		return fmt.Errorf("%w: %w", fault.ErrInPlace, err)
	}
	return nil
}

func (c *Checkpoint) writeRepaired(ctx context.Context, stage storage.Stage, old storage.Store, unions map[string]*union.Union) error {
	needsMarker := c.found.At.Store.Properties().NeedsMarker()
	anew := map[string]bool{layout.DigestFile: c.found.Digests != nil, layout.CommitFile: needsMarker}
	for name := range unions {
		anew[path.Join(name, ocdbt.ManifestName)] = true
		anew[path.Join(name, layout.DataDir)] = true // the nodes of the old index
	}
	if err := c.linkAll(ctx, stage, old, ".", anew); err != nil {
		return err
	}
	digested := func(string, [sha256.Size]byte) {}
	if c.found.Digests != nil {
		digested = c.found.Digests.Add
	}
	for _, file := range c.found.Digests.Names() {
		if anew[path.Dir(file)] {
			c.found.Digests.Forget(file)
		}
	}
	for name, u := range unions {
		c.found.Digests.Forget(path.Join(name, ocdbt.ManifestName))
		dir, err := ckdir.NewWriteDir(ctx, nil, stage, path.Join(".", name), digested)
		if err == nil {
			err = u.WriteIndex(ctx, dir)
		}
		if err != nil {
			return err
		}
	}
	mark := documents.Mark(stage.Properties(), c.found.At.Name)
	if needsMarker && c.found.Digests.Has(layout.CommitFile) {
		c.found.Digests.Add(layout.CommitFile, sha256.Sum256(mark))
	}
	if c.found.Digests != nil {
		if err := transfer.WriteFile(ctx, stage, layout.DigestFile, c.found.Digests.Document()); err != nil {
			return err
		}
	}
	if !needsMarker {
		return c.checkRepaired(ctx, storage.At(c.found.At.Store, stage.Dir()), unions)
	}
	return transfer.WriteFile(ctx, stage, layout.CommitFile, mark)
}

// checkRepaired checks what was written.
func (c *Checkpoint) checkRepaired(ctx context.Context, made storage.Location, unions map[string]*union.Union) error {
	if err := errors.Join(documents.CheckAll(ctx, made, "", c.found.Digests)...); err != nil {
		return err
	}
	for name, u := range unions {
		if err := u.Check(ctx, ckdir.NewReadDir(c.found.Place(made, name, nil))); err != nil {
			return fault.InItem(name, err)
		}
	}
	return nil
}

// linkAll links what is below a directory of the checkpoint, but for some entries.
func (c *Checkpoint) linkAll(ctx context.Context, stage storage.Files, old storage.Store, name string, except map[string]bool) error {
	infos, err := old.List(ctx, c.found.At.Join(name).Name)
	if err != nil {
		return err
	}
	for _, info := range infos {
		entry := path.Join(name, info.Name)
		switch {
		case except[entry]:
		case info.Dir:
			if err = stage.Mkdir(ctx, entry); err == nil {
				err = c.linkAll(ctx, stage, old, entry, except)
			}
		default:
			err = stage.Link(ctx, c.found.At.Join(entry).Name, entry, storage.LinkOptions{})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// notRead ends what the report says of a tree in which nothing was found.
const notRead = " (array data was not read: Verify does that)"

// String returns the report in words.
func (r *RepairReport) String() string {
	var b strings.Builder
	if r.Finished != "" {
		b.WriteString(r.Finished + "\n")
	}
	if len(r.Trees) == 0 {
		return b.String() + "no databases of several processes, so there is nothing to rebuild" + notRead
	}
	for i, t := range r.Trees {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%q: %d databases, %d keys: ", t.Name, len(t.Databases), t.Keys)
		switch {
		case t.Obstacle != nil:
			fmt.Fprintf(&b, "cannot be repaired: %v", t.Obstacle)
		case t.Damage == nil:
			b.WriteString("the index is whole" + notRead)
		case r.Written:
			fmt.Fprintf(&b, "repaired: %v", t.Damage)
		default:
			fmt.Fprintf(&b, "can be repaired: %v", t.Damage)
		}
	}
	return b.String()
}
