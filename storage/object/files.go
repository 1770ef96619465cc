package object

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/parallel"
	"github.com/go-orbax/orbax/storage"
)

// files writes the files of a stage, for its owner or another process that has joined it.
type files struct {
	s      *Store
	dir    string
	entry  string            // of the claimed directory, if that is not dir
	temp   string            // the directory of what has to wait until the commit
	id     string            // of the writer who owns the stage
	writer string            // id and a part of its own, with which the Writer of its objects begins
	keep   map[string]string // what was in the directory before: versions by key; nil: nothing
	marker string
	lost   context.Context                 // ends when the stage is lost
	check  func(ctx context.Context) error // reports a stage that is lost
	// confirm is check that asks the service in any case.
	confirm func(ctx context.Context) error
	explain func(err error) error // adds the loss of the stage to an error
	// settle is called when an object has been made. It fails if the stage is lost.
	settle  func(ctx context.Context, key, writer string) error
	count   atomic.Int64
	orphans atomic.Bool // an upload may have begun whose answer is missing

	mu    sync.Mutex
	names map[string]bool // true for files, false for directories
	open  map[*writer]bool
	made  map[string]string // the objects that were made: their Writers by key
	// late are the Writers, by key, of copies that may appear although they were given up.
	late map[string]string
	bad  error // of a writer that could not be closed
	// markVersion is the version of the marker in the temporary directory.
	markVersion string
	ended       error // why nothing can be written any more
}

func newFiles(s *Store, claimed, entry, id, marker string) *files {
	return &files{
		s: s, dir: path.Join(claimed, entry), entry: entry, temp: tempKey(claimed, id), id: id, writer: id + newWriter()[:8], marker: marker,
		names: map[string]bool{".": false}, open: map[*writer]bool{}, made: map[string]string{}, late: map[string]string{},
	}
}

// note notes that an object has been made.
func (f *files) note(key, writer string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.made[key] = writer
}

// discardMade removes what was made for a stage that is lost. Whoever has ended the stage
// may have come before some of it.
func (f *files) discardMade(ctx context.Context) error {
	f.mu.Lock()
	made := maps.Clone(f.made)
	f.mu.Unlock()
	group, gctx := parallel.WithContext(ctx)
	group.SetLimit(f.s.o.Concurrency)
	for key, writer := range made {
		group.Go(func() error { return f.s.discard(gctx, key, writer) })
	}
	return group.Wait()
}

// newWriter returns the Writer of one object.
func (f *files) newWriter() string {
	return f.writer + "x" + strconv.FormatInt(f.count.Add(1), 36)
}

// Properties returns the properties of the store.
func (f *files) Properties() storage.Properties { return f.s.Properties() }

// keyFor returns the key of a new file. The marker waits in the temporary directory, and so
// does every file of a directory that is replaced: there it could be taken for a file of the
// old one. Only a file with a random name is found by no name but that in another file.
func (f *files) keyFor(name string) string {
	key := below(f.dir) + name
	if _, taken := f.keep[key]; taken || name == f.marker || f.keep != nil && !isRandom(name) {
		return f.temp + "/" + name
	}
	return key
}

// isRandom reports whether a file has a name of at least 32 hexadecimal digits.
func isRandom(name string) bool {
	base := path.Base(name)
	return len(base) >= 32 && isHex(base)
}

// begin checks that something new with the name can be made.
func (f *files) begin(ctx context.Context, name string) error {
	if !fs.ValidPath(name) || name == "." {
		return fmt.Errorf("%w: %q", fault.ErrReservedName, name)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	f.mu.Lock()
	err := f.ended
	f.mu.Unlock()
	if err != nil {
		return err
	}
	return f.check(ctx)
}

// enter takes a name, and makes the directories that it needs.
func (f *files) enter(name string, file bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended != nil {
		return f.ended
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if f.names[dir] {
			return fmt.Errorf("%s: %s is a file", path.Join(f.dir, name), dir)
		}
	}
	if was, taken := f.names[name]; taken && (was || file) {
		return fmt.Errorf("%s: %w", path.Join(f.dir, name), fault.ErrExist)
	}
	f.names[name] = file
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		f.names[dir] = false
	}
	return nil
}

// Mkdir makes a directory. It becomes an object only if nothing is in it at the end.
func (f *files) Mkdir(ctx context.Context, name string) error {
	if name == "." {
		f.mu.Lock()
		defer f.mu.Unlock()
		return errors.Join(ctx.Err(), f.ended)
	}
	if err := f.begin(ctx, name); err != nil {
		return err
	}
	return f.enter(name, false)
}

// Create creates a file, which appears when it is closed. The store needs no size.
func (f *files) Create(ctx context.Context, name string, _ int64) (storage.Writer, error) {
	if err := f.begin(ctx, name); err != nil {
		return nil, err
	}
	if err := f.enter(name, true); err != nil {
		return nil, err
	}
	w := newFileWriter(ctx, f, name)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open[w] = true
	return w, nil
}

// taken is called when an object that was to be made exists. It returns "" if the object
// has this Writer: then it was made, although the answer was lost. If a writer has made
// it that has lost its claim, taken returns the version that may be replaced. Otherwise it
// fails: with ErrExist, or because this writer is the one that has lost its claim.
func (f *files) taken(ctx context.Context, key, writer string) (replace string, err error) {
	info, err := f.s.infoOf(ctx, key)
	switch {
	case err != nil:
		return "", err
	case info.Writer == writer:
		return "", nil
	case info.Writer == "" || strings.HasPrefix(info.Writer, f.id):
		return "", fmt.Errorf("%s: %w", key, fault.ErrExist)
	}
	return info.Version, f.confirm(ctx)
}

// closed notes that a writer has been closed.
func (f *files) closed(w *writer, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.open, w)
	if err != nil && f.bad == nil {
		f.bad = fmt.Errorf("%s: %w", path.Join(f.dir, w.name), err)
	}
}

// marked notes the version of the marker, or finds it out.
func (f *files) marked(ctx context.Context, version string) error {
	if version == "" {
		info, err := f.s.infoOf(ctx, f.keyFor(f.marker))
		if err != nil {
			return err
		}
		version = info.Version
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.markVersion = version
	return nil
}

// end ends the writing with the reason for later calls. It returns an error if a writer is
// open or has failed, or if the writing had ended before; first tells which.
func (f *files) end(reason error) (first bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended != nil {
		return false, f.ended
	}
	f.ended = reason
	if f.bad != nil {
		return true, f.bad
	}
	for w := range f.open {
		return true, fmt.Errorf("%s: it is still open", path.Join(f.dir, w.name))
	}
	return true, nil
}

// abortOpen ends the writers that are still open, and aborts their uploads.
func (f *files) abortOpen(ctx context.Context) {
	f.mu.Lock()
	var open []*writer
	for w := range f.open {
		open = append(open, w)
	}
	f.mu.Unlock()
	for _, w := range open {
		w.quit(ctx, f.ended)
	}
}

// emptyDirs returns the directories with nothing in them.
func (f *files) emptyDirs() (dirs []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	full := map[string]bool{}
	for name := range f.names {
		full[path.Dir(name)] = true
	}
	for name, file := range f.names {
		if !file && !full[name] && name != "." {
			dirs = append(dirs, name)
		}
	}
	return dirs
}

// putDirs makes objects for the directories with nothing in them.
func (f *files) putDirs(ctx context.Context) error {
	for _, dir := range f.emptyDirs() {
		key := f.keyFor(dir + "/")
		writer := f.newWriter()
		err := f.s.try(ctx, func(ctx context.Context) error {
			_, err := f.s.bucket.Put(ctx, key, nil, PutOptions{Writer: writer})
			return err
		})
		if err == nil {
			err = f.settle(ctx, key, writer)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
