package inspect

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
	"syscall"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/flax"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/training"
)

// These are notes on saves that are not finished.
const (
	unfinishedSave  = "a save that is running or has died"
	unfinishedParts = "a session of partial saves that is not finalized"
)

// StepNumber returns the number in the name of a step, whatever the format of the name.
func StepNumber(name string) (int, bool) {
	n, err := strconv.Atoi(name[len(strings.TrimRight(name, "0123456789")):])
	return n, err == nil
}

// SortSteps sorts names of steps by their numbers.
func SortSteps(names []string) {
	slices.SortStableFunc(names, func(a, b string) int {
		i, _ := StepNumber(a)
		j, _ := StepNumber(b)
		return cmp.Compare(i, j)
	})
}

// Run is a directory of steps.
type Run struct {
	in         Inspector
	at         storage.Location
	steps      []string // names of directories, in the order of their numbers
	others     []string // directories with other names that may be checkpoints
	unfinished []string
}

// Run returns the run at a path. It returns nil if the directory has neither steps nor
// the metadata of a run, if the path is that of a session, or if it has no location. It
// returns an error if the directory cannot be listed.
func (in Inspector) Run(ctx context.Context, dir string) (*Run, error) {
	at, err := in.Locate(ctx, dir)
	if err != nil || IsBeside(at.Name) { // names of parts may end in digits
		return nil, nil
	}
	entries, err := at.List(ctx)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := &Run{in: in, at: at}
	for _, e := range entries {
		_, numbered := StepNumber(e.Name)
		switch {
		case !e.Dir:
			if numbered && flax.IsFile(ctx, at.Join(e.Name)) {
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
	SortSteps(r.steps)
	for _, s := range r.steps {
		ck, err := orbax.Open(ctx, at.Join(s).Path(), in.Opening()...)
		if err == nil {
			ck.Close()
		}
		if !isNone(err) || claimOf(err).Exchange {
			return r, nil
		}
	}
	// A new run has its metadata before its first step.
	if is, _ := in.checkRunMetadata(ctx, at.Join(layout.RootMetadataDir)); is {
		return r, nil
	}
	return nil, nil
}

// isNone reports whether err means that there is no checkpoint, neither intact nor
// damaged, or only an unfinished one.
func isNone(err error) bool {
	return errors.Is(err, orbax.ErrNotExist) || errors.Is(err, orbax.ErrInvalidCheckpoint) || isUnfinishedSave(err)
}

// isUnfinishedSave reports whether err means that a save is running or has died.
func isUnfinishedSave(err error) bool {
	return errors.Is(err, orbax.ErrIncomplete) && !errors.Is(err, fault.ErrNotFetched)
}

// claimOf returns what err says about a writer that has claimed the path.
func claimOf(err error) (c fault.Claimed) {
	var claimed *fault.Claimed
	if errors.As(err, &claimed) {
		c = *claimed
	}
	return c
}

// isUnfinished reports whether name is that of an unfinished save of a step or of a run's
// metadata.
func isUnfinished(name string) bool {
	of, _, temporary := strings.Cut(name, storage.TempMarker)
	if !temporary {
		of, temporary = strings.CutSuffix(name, layout.PartialSuffix)
	}
	_, numbered := StepNumber(of)
	return temporary && (numbered || of == layout.RootMetadataDir)
}

// IsBeside reports whether name is that of a temporary directory or of a session of
// partial saves. A save has such a directory beside its checkpoint until it is finished.
func IsBeside(name string) bool {
	return strings.Contains(path.Base(filepath.ToSlash(name)), storage.TempMarker) || isSession(name)
}

// isSession reports whether name is the path of a session of partial saves.
func isSession(name string) bool {
	return strings.HasSuffix(path.Base(filepath.ToSlash(name)), layout.PartialSuffix)
}

// explain changes the verdict on a directory whose check has failed with err, if the
// directory is unfinished instead of damaged, or if it is not a checkpoint but has the
// metadata of a run.
func (in Inspector) explain(ctx context.Context, v *Verdict, err error) {
	at, locateErr := in.Locate(ctx, v.Given)
	if isUnfinishedSave(err) {
		reason := strings.Join(v.Problems, "; ")
		v.Status, v.Note, v.Reason, v.Problems = StatusUnfinished, unfinishedSave, &reason, []string{}
		if locateErr == nil && isSession(at.Name) {
			v.Note = unfinishedParts
		}
		if c := claimOf(err); c.Work != "" {
			v.Note = c.Work
		}
		return
	}
	if locateErr != nil || at.Base() != layout.RootMetadataDir || !errors.Is(err, orbax.ErrInvalidCheckpoint) {
		return
	}
	is, err := in.checkRunMetadata(ctx, at)
	switch {
	case !is:
	case err == nil:
		v.Status, v.Note, v.Problems, v.Err = StatusOK, "the metadata of a run", []string{}, nil
	default:
		v.fail(err)
		v.None = false
	}
}

// checkRunMetadata reports whether dir has only the documents of a run's metadata, and
// reads these. Links in dir may lead to files of the run.
func (in Inspector) checkRunMetadata(ctx context.Context, dir storage.Location) (is bool, err error) {
	run := dir.Dir()
	dir.Store = storage.Confine(dir.Store, run.Name, in.FollowLinks)
	entries, err := dir.List(ctx)
	if errors.Is(err, orbax.ErrLink) {
		return true, inRun(run, err)
	}
	if err != nil || len(entries) == 0 {
		return false, nil
	}
	for _, e := range entries {
		if e.Dir || e.Name != layout.RootMetadataFile && e.Name != layout.OldRootMetadataFile && e.Name != layout.DigestFile {
			return false, nil
		}
	}
	_, err = in.runMetadata(ctx, run)
	return true, inRun(run, err)
}

// runMetadata reads the metadata of a run. Its error does not name the run.
func (in Inspector) runMetadata(ctx context.Context, run storage.Location) (*training.RootMetadata, error) {
	m, err := training.Metadata(ctx, run.Path(), training.ReadOptions{Store: in.Store, OpenOptions: in.links()})
	var ours *training.Error
	if errors.As(err, &ours) {
		err = ours.Err
	}
	return m, err
}

// inRun adds the path of the run to an error of reading its metadata.
func inRun(run storage.Location, err error) error {
	if err == nil {
		return nil
	}
	return &orbax.Error{Op: "verify", Path: run.Path(), Err: err}
}

// Verify verifies the checkpoints of a run and reports on each. It begins with the steps
// in order, continues with the other checkpoints and the unfinished saves, and ends with
// the run as a whole. It reports on the run's metadata only if they are damaged.
func (r *Run) Verify(ctx context.Context, report func(*Verdict) error) error {
	total := &Verdict{Path: r.at.String(), Given: r.at.Path(), Status: StatusOK, IsRun: true}
	var bad []string
	steps, others, unfinished := 0, 0, 0
	for _, name := range slices.Concat(r.steps, r.others, r.unfinished) {
		v := r.in.Verify(ctx, r.at.Join(name).Path())
		if err := ctx.Err(); err != nil {
			return err
		}
		v.InRun = true
		if v.None && v.Status == StatusError {
			continue // not a checkpoint, or removed meanwhile
		}
		if name == layout.RootMetadataDir && v.Status == StatusOK {
			continue
		}
		if err := report(v); err != nil {
			return err
		}
		switch v.Status {
		case StatusUnfinished:
			unfinished++
			continue
		case StatusOK:
		default:
			bad = append(bad, name)
			if total.Status != StatusDamaged {
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
	total.Note = Plural(steps, "step")
	if others > 0 {
		total.Note += ", " + Plural(others, "other checkpoint")
	}
	if len(bad) > 0 {
		total.Note += fmt.Sprintf(", damaged or unreadable: %s", fault.List(bad))
	}
	if unfinished > 0 {
		total.Note += fmt.Sprintf(", %s", Plural(unfinished, "unfinished save"))
	}
	return report(total)
}
