package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
	rootdocs "github.com/go-orbax/orbax/internal/documents"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/storage"
)

// What is said of a save that is not finished.
const (
	unfinishedSave  = "a save that goes on, or has died"
	unfinishedParts = "a session of partial saves that is not finalized"
)

// stepNumber returns the number of a step by its name, in whatever format.
func stepNumber(name string) (int, bool) {
	n, err := strconv.Atoi(name[len(strings.TrimRight(name, "0123456789")):])
	return n, err == nil
}

// stepsDir is a run: a directory of steps.
type stepsDir struct {
	in         Inspector
	path       string
	steps      []string // names of directories, in the order of their numbers
	others     []string // directories that may be checkpoints and have other names
	unfinished []string
}

// Run returns the run at a path, or nil if neither a step nor a run's metadata are
// there.
func (in Inspector) Run(ctx context.Context, dir string) *stepsDir {
	store, name, err := in.resolve(dir)
	if err != nil || isBeside(name) { // parts' names may end in digits
		return nil
	}
	entries, err := store.List(ctx, name)
	if err != nil {
		return nil
	}
	r := &stepsDir{in: in, path: dir}
	for _, e := range entries {
		_, numbered := stepNumber(e.Name)
		switch {
		case !e.Dir:
			if numbered && handler.IsFlaxFile(ctx, store, path.Join(name, e.Name)) {
				r.steps = append(r.steps, e.Name)
			}
		case isUnfinished(e.Name):
			r.unfinished = append(r.unfinished, e.Name)
		case strings.Contains(e.Name, storage.TempMarker):
		case numbered:
			r.steps = append(r.steps, e.Name)
		default:
			r.others = append(r.others, e.Name)
		}
	}
	slices.SortStableFunc(r.steps, func(a, b string) int {
		i, _ := stepNumber(a)
		j, _ := stepNumber(b)
		return cmp.Compare(i, j)
	})
	for _, s := range r.steps {
		ck, err := orbax.Open(ctx, join(dir, s))
		if err == nil {
			ck.Close()
		}
		if !isNone(err) {
			return r
		}
	}
	// A run that has begun has its metadata before its first step.
	if is, _ := in.checkRunMetadata(ctx, join(dir, layout.RootMetadataDir)); is {
		return r
	}
	return nil
}

func join(dir, name string) string {
	if strings.Contains(dir, "://") {
		return strings.TrimRight(dir, "/") + "/" + name
	}
	return filepath.Join(dir, name)
}

// isNone reports whether an error says that no checkpoint is there, whole or damaged.
func isNone(err error) bool {
	return errors.Is(err, orbax.ErrNotExist) || errors.Is(err, orbax.ErrInvalidCheckpoint) || isUnfinishedSave(err)
}

// isUnfinishedSave reports whether an error says that a save goes on or has died.
func isUnfinishedSave(err error) bool {
	return errors.Is(err, orbax.ErrIncomplete) && !errors.Is(err, fault.ErrNotFetched)
}

// isUnfinished reports whether a name is that of an unfinished save of a step, or of a
// run's metadata.
func isUnfinished(name string) bool {
	of, _, temporary := strings.Cut(name, storage.TempMarker)
	if !temporary {
		of, temporary = strings.CutSuffix(name, layout.PartialSuffix)
	}
	_, numbered := stepNumber(of)
	return temporary && (numbered || of == layout.RootMetadataDir)
}

// isBeside reports whether a name is that of what a save has beside its checkpoint until
// it is finished: a temporary directory, or a session of partial saves.
func isBeside(name string) bool {
	return strings.Contains(path.Base(filepath.ToSlash(name)), storage.TempMarker) || isSession(name)
}

// isSession reports whether a path is that of a session of partial saves.
func isSession(name string) bool {
	return strings.HasSuffix(path.Base(filepath.ToSlash(name)), layout.PartialSuffix)
}

// explain changes the verdict about what has failed with err, if it is unfinished and not
// damaged, or no checkpoint and has its place in a run all the same.
func (in Inspector) explain(ctx context.Context, v *verdict, err error) {
	if isUnfinishedSave(err) {
		v.Status, v.note, v.Problems = statusUnfinished, unfinishedSave, []string{}
		if isSession(v.Path) {
			v.note = unfinishedParts
		}
		return
	}
	_, name, resolveErr := in.resolve(v.Path)
	if resolveErr != nil {
		return
	}
	name = path.Base(name)
	switch {
	case errors.Is(err, orbax.ErrInvalidCheckpoint) && name == layout.RootMetadataDir:
		is, err := in.checkRunMetadata(ctx, v.Path)
		switch {
		case !is:
			return
		case err != nil:
			v.Status, v.Problems, v.Err, v.none = statusDamaged, problems(err), nil, false
			return
		}
		v.Status, v.note = statusOK, "the metadata of a run"
	default:
		return
	}
	v.Problems, v.Err = []string{}, nil
}

// checkRunMetadata reports whether a directory has nothing but the documents of a run's
// metadata, and whether they are those that were written, if there are digests.
func (in Inspector) checkRunMetadata(ctx context.Context, dir string) (is bool, err error) {
	store, name, err := in.resolve(dir)
	if err != nil {
		return false, nil
	}
	entries, err := store.List(ctx, name)
	if err != nil || len(entries) == 0 {
		return false, nil
	}
	for _, e := range entries {
		if e.Dir || e.Name != layout.RootMetadataFile && e.Name != layout.OldRootMetadataFile && e.Name != layout.DigestFile {
			return false, nil
		}
	}
	doc, err := transfer.ReadFile(ctx, store, name, layout.DigestFile, 0, -1)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	var digests *layout.Digests
	if err == nil {
		digests, err = layout.ParseDigests(doc)
	}
	if err == nil {
		err = rootdocs.CheckAll(ctx, store, name, "", digests)
	}
	return true, err
}

// Verify reports on every step, in their order, then on the other checkpoints and on what
// is unfinished, and last on the run. The run's metadata are reported if they are damaged.
func (r *stepsDir) Verify(ctx context.Context, report func(*verdict) error) error {
	total := &verdict{Path: r.path, Status: statusOK, isRun: true}
	var bad []string
	steps, others := 0, 0
	for _, name := range slices.Concat(r.steps, r.others, r.unfinished) {
		v := r.in.Verify(ctx, join(r.path, name))
		if err := ctx.Err(); err != nil {
			return err
		}
		v.inRun = true
		if v.none && v.Status == statusError {
			continue // no checkpoint, or one that was removed since
		}
		if name == layout.RootMetadataDir && v.Status == statusOK {
			continue
		}
		if err := report(v); err != nil {
			return err
		}
		switch v.Status {
		case statusUnfinished:
			total.unfinished++
			continue
		case statusOK:
		default:
			bad = append(bad, name)
			if total.Status != statusDamaged {
				total.Status = v.Status
			}
		}
		switch {
		case slices.Contains(r.steps, name):
			steps++
		case name != layout.RootMetadataDir:
			others++
		}
	}
	total.note = plural(steps, "step")
	if others > 0 {
		total.note += ", " + plural(others, "other checkpoint")
	}
	if len(bad) > 0 {
		total.note += fmt.Sprintf(", damaged or unreadable: %s", fault.List(bad))
	}
	if total.unfinished > 0 {
		total.note += fmt.Sprintf(", %s", plural(total.unfinished, "unfinished save"))
	}
	return report(total)
}
