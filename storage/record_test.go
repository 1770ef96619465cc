package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Recorder is the store of the local file system with a record of everything
// that it does to the disk. It is for the tests of package storage_test, which
// can also drive whole saves through it.
type Recorder struct {
	// NoExchange imitates a file system that cannot exchange directories.
	NoExchange bool
	// NoLink imitates a file system without hard links.
	NoLink bool
	// NoSync records syncs without making them, where only speed counts.
	NoSync bool
	// Before, if set, is called before each operation; an error takes the
	// operation's place.
	Before func(Op) error
	// Removing, if set, is called before each entry of a remove operation goes.
	Removing func(name string)
	// Opening, if set, is called before a directory of a stage is opened.
	Opening func(name string)

	mu  sync.Mutex
	ops []Op
}

// Op is one operation. Kind is mkdir, create, allocate, write, truncate, chmod,
// sync, syncdir, link, rename, replace, exchange, remove, lock or unlock.
type Op struct {
	Kind string
	Name string
	To   string // the other name of a link, rename, replace or exchange
	Off  int64  // of a write; the size for allocate and truncate
	Data []byte // of all buffers of a write
	Bufs int    // how many these were
	Err  error
}

// Store returns a store whose operations go to r.
func (r *Recorder) Store() Store { return &local{sys: recordingSystem{r}} }

// Ops returns the recorded operations.
func (r *Recorder) Ops() []Op {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.ops)
}

// do keeps the record in the order of execution.
func (r *Recorder) do(op Op, f func() error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.Before != nil {
		op.Err = r.Before(op)
	}
	if op.Err == nil {
		op.Err = f()
	}
	r.ops = append(r.ops, op)
	return op.Err
}

type recordingSystem struct{ r *Recorder }

func (s recordingSystem) mkdir(e entry) error {
	return s.r.do(Op{Kind: "mkdir", Name: e.path()}, func() error { return osSystem{}.mkdir(e) })
}

func (s recordingSystem) open(e entry) (folder, error) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	if s.r.Opening != nil {
		s.r.Opening(e.path())
	}
	return osSystem{}.open(e)
}

func (s recordingSystem) create(e entry, small bool) (sysFile, error) {
	var f sysFile
	err := s.r.do(Op{Kind: "create", Name: e.path()}, func() (err error) {
		f, err = osSystem{}.create(e, small)
		return err
	})
	return &recordingFile{s.r, e.path(), f}, err
}

func (s recordingSystem) syncDir(e entry) error {
	return s.r.do(Op{Kind: "syncdir", Name: e.path()}, func() error {
		if s.r.NoSync {
			return nil
		}
		return osSystem{}.syncDir(e)
	})
}

func (s recordingSystem) link(old string, new entry) error {
	return s.r.do(Op{Kind: "link", Name: old, To: new.path()}, func() error {
		if s.r.NoLink {
			return linkError("link", old, new.path(), errors.ErrUnsupported)
		}
		return osSystem{}.link(old, new)
	})
}

func (s recordingSystem) rename(old, new entry) error {
	return s.r.do(Op{Kind: "rename", Name: old.path(), To: new.path()}, func() error { return osSystem{}.rename(old, new) })
}

func (s recordingSystem) replace(old, new entry) error {
	return s.r.do(Op{Kind: "replace", Name: old.path(), To: new.path()}, func() error { return osSystem{}.replace(old, new) })
}

func (s recordingSystem) exchange(a, b string) error {
	return s.r.do(Op{Kind: "exchange", Name: a, To: b}, func() error {
		if s.r.NoExchange {
			return linkError("exchange", a, b, errors.ErrUnsupported)
		}
		return osSystem{}.exchange(a, b)
	})
}

func (s recordingSystem) syncOwn(top, name string) error {
	return s.r.do(Op{Kind: "syncdir", Name: path.Join(top, name)}, func() error {
		if s.r.NoSync {
			return nil
		}
		return osSystem{}.syncOwn(top, name)
	})
}

func (s recordingSystem) remove(dir string, items []Item) error {
	return s.r.do(Op{Kind: "remove", Name: dir}, func() error { return osSystem{s.r.Removing}.remove(dir, items) })
}

func (s recordingSystem) removeEntry(dir string, entry Item, items []Item) error {
	return s.r.do(Op{Kind: "remove", Name: path.Join(dir, entry.Name)}, func() error {
		return osSystem{s.r.Removing}.removeEntry(dir, entry, items)
	})
}

func (s recordingSystem) lock(name string) (func(), error) {
	var unlock func()
	err := s.r.do(Op{Kind: "lock", Name: name}, func() (err error) {
		unlock, err = osSystem{}.lock(name)
		return err
	})
	return func() {
		s.r.do(Op{Kind: "unlock", Name: name}, func() error { unlock(); return nil })
	}, err
}

func (recordingSystem) locked(name string) bool { return osSystem{}.locked(name) }

type recordingFile struct {
	r    *Recorder
	name string
	f    sysFile
}

func (f *recordingFile) write(off int64, bufs ...[]byte) error {
	op := Op{Kind: "write", Name: f.name, Off: off, Data: bytes.Join(bufs, nil), Bufs: len(bufs)}
	return f.r.do(op, func() error { return f.f.write(off, bufs...) })
}

func (f *recordingFile) allocate(size int64) error {
	return f.r.do(Op{Kind: "allocate", Name: f.name, Off: size}, func() error { return f.f.allocate(size) })
}

func (f *recordingFile) truncate(size int64) error {
	return f.r.do(Op{Kind: "truncate", Name: f.name, Off: size}, func() error { return f.f.truncate(size) })
}

func (f *recordingFile) chmod(perm fs.FileMode) error {
	return f.r.do(Op{Kind: "chmod", Name: f.name}, func() error { return f.f.chmod(perm) })
}

func (f *recordingFile) alignment() int { return f.f.alignment() }

func (f *recordingFile) sync() error {
	return f.r.do(Op{Kind: "sync", Name: f.name}, func() error {
		if f.r.NoSync {
			return nil
		}
		return f.f.sync()
	})
}

func (f *recordingFile) close() error { return f.f.close() }

var randomPart = regexp.MustCompile(`[0-9a-f]{32}|[0-9a-f]{16}|[0-9a-f]{12}-old`)

// FormatOps prints operations one a line, in the order of canonical. Writes that
// continue each other are one line, and the random parts of names are numbered as
// they come.
func FormatOps(ops []Op) string {
	names := map[string]string{}
	normal := func(name string) string {
		return randomPart.ReplaceAllStringFunc(name, func(s string) string {
			if _, ok := names[s]; !ok {
				names[s] = fmt.Sprintf("<%d>", len(names)+1)
				if strings.HasSuffix(s, "-old") {
					names[s] += "-old"
				}
			}
			return names[s]
		})
	}
	ops = canonical(ops)
	var b strings.Builder
	for i := 0; i < len(ops); i++ {
		op := ops[i]
		fmt.Fprintf(&b, "%s %s", op.Kind, normal(op.Name))
		if op.To != "" {
			fmt.Fprintf(&b, " %s", normal(op.To))
		}
		switch op.Kind {
		case "write":
			n := len(op.Data)
			for ; i+1 < len(ops) && continues(ops[i+1], op, n); i++ {
				n += len(ops[i+1].Data)
			}
			fmt.Fprintf(&b, " %d+%d", op.Off, n)
			if op.Bufs > 1 {
				fmt.Fprintf(&b, " from %d buffers", op.Bufs)
			}
		case "allocate", "truncate":
			fmt.Fprintf(&b, " %d", op.Off)
		}
		if op.Err != nil {
			fmt.Fprintf(&b, ": %v", reason(op.Err))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// canonical sorts the operations that goroutines may make in any order. Of those
// that follow each other in one phase, the ones on each file are put together,
// and directories come before files.
func canonical(ops []Op) []Op {
	var all []Op
	for len(ops) > 0 {
		n := 0
		for n < len(ops) && phase(ops[n]) == phase(ops[0]) && phase(ops[0]) != "" {
			n++
		}
		n = max(n, 1)
		files := map[string][]Op{}
		for _, op := range ops[:n] {
			files[op.Name] = append(files[op.Name], op)
		}
		key := func(name string) string {
			kind, size := "file", 0
			for _, op := range files[name] {
				size += len(op.Data)
				if op.Kind == "mkdir" {
					kind = "directory"
				}
			}
			return fmt.Sprintf("%s %s %020d", kind, randomPart.ReplaceAllString(name, "*"), size)
		}
		names := slices.SortedFunc(maps.Keys(files), func(a, b string) int { return strings.Compare(key(a), key(b)) })
		if ops[0].Kind == "syncdir" {
			slices.Reverse(names) // as one would: children first
		}
		for _, name := range names {
			all = append(all, files[name]...)
		}
		ops = ops[n:]
	}
	return all
}

// phase tells apart what a save does in parallel; what it does alone, and what
// fails, has none.
func phase(op Op) string {
	if op.Err != nil {
		return ""
	}
	switch op.Kind {
	case "mkdir", "create", "allocate", "write", "truncate", "sync":
		return "write"
	case "syncdir":
		return "sync"
	}
	return ""
}

// continues reports whether a write from one buffer goes on where n bytes of
// another one end.
func continues(op, before Op, n int) bool {
	return op.Kind == "write" && op.Name == before.Name && op.Off == before.Off+int64(n) && op.Bufs == 1 && before.Bufs == 1
}

// reason returns the innermost error: the names around it are in the line.
func reason(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

// Everything is the Look that lets a directory go with all that is in it.
var Everything Look = everything
