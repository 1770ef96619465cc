package storage

import (
	"errors"
	"path"
	"sync"
	"syscall"
)

// openDir is a directory that is open.
type openDir struct {
	folder
	path string // at the time when it was opened

	users int
	used  uint64 // time of the last use, by clock
	kept  bool   // it stays open when it has no users
}

// maxOpenDirs is how many directories of a stage stay open. A save has few directories,
// or few files in each, which are written together. Directories without users are closed
// if the process may have no more files open.
const maxOpenDirs = 16

// openDirs has the open directories of a stage: the top one until the end, and those
// below it that were used last. Several goroutines may call its methods.
type openDirs struct {
	sys system

	mu    sync.Mutex
	open  map[string]*openDir // by name relative to the top one, which is "."
	ids   map[string]identity // of all directories that have been open
	clock uint64
}

// begin opens the top directory.
func (o *openDirs) begin(top string) error {
	d, err := o.sys.open(at(top))
	if err != nil {
		return err
	}
	id, err := d.id()
	if err != nil {
		d.close()
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open = map[string]*openDir{".": {folder: d, path: top, kept: true}}
	o.ids = map[string]identity{".": id}
	return nil
}

// id returns the identity of a directory, or nil if it has never been open.
func (o *openDirs) id(name string) *identity {
	o.mu.Lock()
	defer o.mu.Unlock()
	if id, ok := o.ids[name]; ok {
		return &id
	}
	return nil
}

// use calls f with the entry of a name relative to the top directory. The directory of
// the entry must exist, and no directory on the way to it may be a link.
func (o *openDirs) use(name string, f func(entry) error) error {
	err := o.useOnce(name, f)
	if (errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)) && o.closeIdle() {
		err = o.useOnce(name, f)
	}
	return err
}

func (o *openDirs) useOnce(name string, f func(entry) error) error {
	d, err := o.enter(path.Dir(name))
	if err != nil {
		return err
	}
	defer o.leave(d)
	return f(entry{d, path.Base(name)})
}

// made notes the identity of a new directory.
func (o *openDirs) made(name string, e entry) error {
	id, err := e.id()
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ids[name] = id
	return nil
}

func (o *openDirs) enter(name string) (*openDir, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.enterLocked(name)
}

func (o *openDirs) enterLocked(name string) (*openDir, error) {
	o.clock++
	d := o.open[name]
	if d == nil {
		if name == "." {
			return nil, errFinished
		}
		var err error
		if d, err = o.openNow(name); err != nil {
			return nil, err
		}
		o.keep(name, d)
	}
	d.users++
	d.used = o.clock
	return d, nil
}

// openNow opens a directory, which must be the same one as before.
func (o *openDirs) openNow(name string) (*openDir, error) {
	above, err := o.enterLocked(path.Dir(name))
	if err != nil {
		return nil, err
	}
	defer o.leaveLocked(above)
	e := entry{above, path.Base(name)}
	f, err := o.sys.open(e)
	if err != nil {
		return nil, err
	}
	if before, ok := o.ids[name]; ok {
		err = f.mustBe(before, e.path())
	} else if id, ierr := f.id(); ierr != nil {
		err = ierr
	} else {
		o.ids[name] = id
	}
	if err != nil {
		f.close()
		return nil, err
	}
	return &openDir{folder: f, path: e.path()}, nil
}

// keep makes d one of the directories that stay open. If all of these are in use, d is
// closed after its own use.
func (o *openDirs) keep(name string, d *openDir) {
	if len(o.open) >= maxOpenDirs {
		oldest := ""
		for name, d := range o.open {
			if name != "." && d.users == 0 && (oldest == "" || d.used < o.open[oldest].used) {
				oldest = name
			}
		}
		if oldest == "" {
			return
		}
		o.drop(oldest)
	}
	d.kept = true
	o.open[name] = d
}

// closeIdle closes the directories without users, and reports whether there were any.
func (o *openDirs) closeIdle() (closed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for name, d := range o.open {
		if name != "." && d.users == 0 {
			o.drop(name)
			closed = true
		}
	}
	return closed
}

// drop closes a directory, at once or when its last user leaves it.
func (o *openDirs) drop(name string) {
	d := o.open[name]
	delete(o.open, name)
	d.kept = false
	if d.users == 0 {
		d.close()
	}
}

func (o *openDirs) leave(d *openDir) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.leaveLocked(d)
}

func (o *openDirs) leaveLocked(d *openDir) {
	if d.users--; d.users == 0 && !d.kept {
		d.close()
	}
}

// end closes all directories. After it, enter fails.
func (o *openDirs) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for name := range o.open {
		o.drop(name)
	}
}
