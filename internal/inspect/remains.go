package inspect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/parallel"
	"github.com/go-orbax/orbax/internal/proof"
	"github.com/go-orbax/orbax/storage"
)

// These are the states of a [Remain].
const (
	RemainDead       = "dead"       // its writer has died
	RemainLive       = "live"       // a writer works on it
	RemainUnknown    = "unknown"    // nothing shows whether its writer lives
	RemainUnfinished = "unfinished" // an unfinished checkpoint that no temporary directory belongs to
	RemainOld        = "old"        // the only copy of a checkpoint that was being replaced
)

// Remains describes what writers have left below a directory. The help of orbax gc
// describes its JSON.
type Remains struct {
	Path    string   `json:"path"`
	Applied bool     `json:"applied"`
	Remains []Remain `json:"remains"`

	Err error `json:"-"` // of what could not be removed
}

// Remain is a temporary directory or an unfinished checkpoint.
type Remain struct {
	Path     string     `json:"path"`
	State    string     `json:"state"`
	What     string     `json:"what"`
	Of       string     `json:"of"`
	Writer   *string    `json:"writer"`
	Modified *time.Time `json:"modified"`
	Files    int        `json:"files"`
	Bytes    int64      `json:"bytes"`
	Removed  bool       `json:"removed"`
	Error    *string    `json:"error"`
}

// maxLooked is how many files and directories are looked at, and maxDepth how deep.
// removalsAtOnce is how many removals run at the same time: in an object store each waits for
// requests of the dead writer that may be under way.
const (
	removalsAtOnce = 16
	maxLooked      = 1_000_000
	maxDepth       = 64
)

// Remains finds what writers have left at a path, beside it and below it. With remove it
// removes what dead writers have left or, in an object store, undoes or finishes what they
// have begun. It does not look into checkpoints, and follows no links.
func (in Inspector) Remains(ctx context.Context, path string, remove bool) (*Remains, error) {
	at, err := in.Locate(ctx, path)
	if err != nil {
		return nil, err
	}
	l := &leftovers{in: in, at: at, read: at.Store, asked: map[string]bool{}, dead: map[string]bool{}}
	info, err := at.Stat(ctx)
	switch {
	case err == nil && !info.Dir:
		return nil, InCheckpoint(at.Path(), fmt.Errorf("%w: it is a file", fault.ErrInvalidCheckpoint))
	case err == nil:
		// One listing of a bucket answers all later looks.
		if v, serr := at.Store.Snapshot(ctx, at.Name); serr == nil && v != nil {
			l.read = v
		}
		err = l.walk(ctx, at.Name, 0)
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	}
	if err == nil {
		err = l.beside(ctx)
	}
	if err == nil && info.Name == "" && len(l.found) == 0 {
		err = fault.ErrNotExist
	}
	if err != nil {
		return nil, InCheckpoint(at.Path(), err)
	}
	slices.SortFunc(l.found, func(a, b leftover) int { return strings.Compare(a.at.Name, b.at.Name) })
	r := &Remains{Path: at.String(), Applied: remove, Remains: []Remain{}}
	errs := make([]error, len(l.found))
	group, _ := parallel.WithContext(ctx) // the failure of one does not end the others
	group.SetLimit(removalsAtOnce)
	for i := range l.found {
		f := &l.found[i]
		if !remove || f.State != RemainDead {
			continue
		}
		group.Go(func() error {
			if err := f.remove(ctx); err != nil {
				errs[i] = fmt.Errorf("%s: %w", fault.Shown(f.Path), err)
			}
			return nil
		})
	}
	if err := cmp.Or(group.Wait(), ctx.Err()); err != nil {
		return nil, err
	}
	for _, f := range l.found {
		r.Remains = append(r.Remains, f.Remain)
	}
	r.Err = errors.Join(errs...)
	return r, nil
}

// leftovers looks for what writers have left.
type leftovers struct {
	in     Inspector
	at     storage.Location
	read   storage.Store // to list and read
	looked int
	asked  map[string]bool // directories of which dead writers are known
	dead   map[string]bool // temporary directories of dead writers
	found  []leftover
}

type leftover struct {
	Remain
	at storage.Location
}

// remove removes what a dead writer has left.
func (f *leftover) remove(ctx context.Context) error {
	err := proof.Clean(ctx, f.at)
	switch {
	case err == nil:
		f.Removed = true
	case errors.Is(err, fault.ErrBusy): // another process does it
		f.State = RemainLive
		f.Error = message(err)
		return nil
	default:
		f.Error = message(err)
	}
	return err
}

// look counts what is looked at.
func (l *leftovers) look(n int) error {
	if l.looked += n; l.looked > maxLooked {
		return fmt.Errorf("%w: there are more than %d files and directories; give a directory below it", fault.ErrUnsupported, maxLooked)
	}
	return nil
}

// walk looks at a directory and those below it.
func (l *leftovers) walk(ctx context.Context, dir string, depth int) error {
	entries, err := storage.Entries(ctx, l.read, dir)
	if errors.Is(err, fs.ErrNotExist) { // since it was listed
		return nil
	}
	if err == nil {
		err = l.look(len(entries))
	}
	if err != nil {
		return err
	}
	has := map[string]bool{}
	var temporary, below []string
	for _, e := range entries {
		is, _ := storage.IsTemporary(e.Name)
		switch {
		case !e.Type.IsDir():
			has[e.Name] = true
		case is:
			temporary = append(temporary, e.Name)
		case !strings.Contains(e.Name, storage.TempMarker):
			below = append(below, e.Name)
		}
	}
	if err := l.temporaries(ctx, dir, temporary); err != nil {
		return err
	}
	if isCheckpoint(has) {
		return l.unfinished(ctx, dir, has[layout.CommitFile])
	}
	if depth == maxDepth {
		return nil
	}
	for _, name := range below {
		if err := l.walk(ctx, path.Join(dir, name), depth+1); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// isCheckpoint reports whether a directory with these files is a checkpoint, perhaps an
// unfinished one.
func isCheckpoint(has map[string]bool) bool {
	return has[layout.CommitFile] || has[layout.CheckpointFile] || has[layout.IndicatorFile] || has[layout.TreeFile]
}

// beside looks at the temporary directories of the path itself.
func (l *leftovers) beside(ctx context.Context) error {
	if l.at.Name == "" || l.at.Name == path.Dir(l.at.Name) { // the root of the store
		return nil
	}
	dir := path.Dir(l.at.Name)
	left, err := l.at.Store.Left(ctx, l.at.Name)
	if err != nil {
		return err
	}
	var names []string
	for _, name := range left {
		names = append(names, path.Base(name))
	}
	l.read = l.at.Store
	return l.temporaries(ctx, dir, names)
}

// temporaries notes the temporary directories in a directory.
func (l *leftovers) temporaries(ctx context.Context, dir string, names []string) error {
	if len(names) == 0 {
		return nil
	}
	locks := l.at.Store.Locks(ctx, dir)
	for _, name := range names {
		for _, of := range targetsOf(name) {
			if of = path.Join(dir, of); l.asked[of] {
				continue
			}
			l.asked[of] = true
			left, err := l.at.Store.Left(ctx, of)
			if err != nil {
				return err
			}
			for _, d := range left {
				l.dead[d] = true
			}
		}
	}
	for _, name := range names {
		if err := l.note(ctx, path.Join(dir, name), locks); err != nil {
			return err
		}
	}
	return nil
}

// targetsOf returns what a temporary directory with this name may belong to. That of a
// removal of a temporary directory has two marks.
func targetsOf(name string) []string {
	first, _, _ := strings.Cut(name, storage.TempMarker)
	return slices.Compact([]string{first, name[:strings.LastIndex(name, storage.TempMarker)]})
}

// note notes a temporary directory.
func (l *leftovers) note(ctx context.Context, name string, locks bool) error {
	of := path.Join(path.Dir(name), targetsOf(path.Base(name))[0])
	_, ours := storage.IsTemporary(path.Base(name))
	w, werr := l.at.Store.Work(ctx, name)
	f := leftover{at: storage.At(l.at.Store, name)}
	f.Path, f.Of, f.What = l.shown(name), l.shown(of), "the directory of a save or a removal"
	if l.at.Store.Properties().NeedsMarker() {
		f.What = whatOf(w, werr)
		locks = locks && (w != nil || werr != nil)
	}
	if w != nil && w.Writer != "" {
		f.Writer = &w.Writer
	}
	switch {
	case l.dead[name]:
		f.State = RemainDead
	case storage.IsReplaced(path.Base(name)):
		if _, err := l.at.Store.Stat(ctx, of); errors.Is(err, fs.ErrNotExist) {
			f.State, f.What = RemainOld, "a checkpoint that was being replaced; rename it to have it back"
			break
		}
		fallthrough
	case ours && locks:
		f.State = RemainLive
	default:
		f.State = RemainUnknown
	}
	if err := l.measure(ctx, &f, name, 0); err != nil {
		return err
	}
	if w != nil && undoes(w) { // what the save has uploaded is in the directory itself
		if _, err := l.read.Stat(ctx, path.Join(of, layout.CommitFile)); errors.Is(err, fs.ErrNotExist) {
			if err := l.measure(ctx, &f, of, 0); err != nil {
				return err
			}
		}
	}
	l.found = append(l.found, f)
	return nil
}

// whatOf says what the claim of a temporary directory in an object store is about. err is
// the error of reading it.
func whatOf(w *storage.Work, err error) string {
	switch {
	case err != nil:
		return unreadableClaim
	case w == nil:
		return "objects without a claim"
	case w.Decided:
		return "a save or a removal that is decided: it is finished"
	case undoes(w):
		return "an unfinished save: its files are removed"
	case w.Since.IsZero(): // every writer notes when it began
		return unreadableClaim
	}
	return "a claim: nothing was changed"
}

const unreadableClaim = "a claim that cannot be read"

// undoes reports whether the next writer removes what the writer has written.
func undoes(w *storage.Work) bool { return w.Task == storage.TaskSave && !w.Decided }

// unfinished notes an unfinished checkpoint, unless a temporary directory belongs to it.
func (l *leftovers) unfinished(ctx context.Context, dir string, marked bool) error {
	at := storage.At(l.at.Store, dir)
	if marked || isSession(dir) || slices.ContainsFunc(l.found, func(f leftover) bool { return f.Of == l.shown(dir) }) {
		return nil
	}
	ck, err := orbax.Open(ctx, at.Name, append(l.in.links(), orbax.In(l.at.Store))...)
	if err == nil {
		return ck.Close()
	}
	if !isUnfinishedSave(err) {
		return ctx.Err()
	}
	f := leftover{at: at}
	f.Path, f.Of, f.State, f.What = l.shown(dir), l.shown(dir), RemainUnfinished, "an unfinished checkpoint, of a save that is running or has died"
	if err := l.measure(ctx, &f, dir, 0); err != nil {
		return err
	}
	l.found = append(l.found, f)
	return nil
}

// measure adds the files below a directory.
func (l *leftovers) measure(ctx context.Context, f *leftover, dir string, depth int) error {
	infos, err := l.read.List(ctx, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = l.look(len(infos))
	}
	for _, info := range infos {
		if err != nil {
			return err
		}
		switch {
		case info.Dir && depth < maxDepth:
			err = l.measure(ctx, f, path.Join(dir, info.Name), depth+1)
		case !info.Dir:
			f.Files++
			f.Bytes += info.Size
			if !info.ModTime.IsZero() && (f.Modified == nil || info.ModTime.After(*f.Modified)) {
				f.Modified = &info.ModTime
			}
		}
	}
	return err
}

// shown returns how a name in the store is shown.
func (l *leftovers) shown(name string) string {
	top := l.at.Name
	switch {
	case name == top:
		return l.at.String()
	case top == "" || top == ".":
		return l.at.Join(name).String()
	}
	if rest, below := strings.CutPrefix(name, strings.TrimSuffix(top, "/")+"/"); below {
		return l.at.Join(rest).String()
	}
	return l.at.Dir().Join(path.Base(name)).String()
}
