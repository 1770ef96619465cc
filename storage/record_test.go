package storage

import (
	"errors"
	"fmt"
	"os"
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

	mu  sync.Mutex
	ops []Op
}

// Op is one operation. Kind is mkdir, create, write, sync, syncdir, link,
// rename, replace, exchange, remove, lock or unlock.
type Op struct {
	Kind string
	Name string
	To   string // the other name of a link, rename, replace or exchange
	Off  int64
	Data []byte
	Err  error
}

// Store returns a store whose operations go to r.
func (r *Recorder) Store() Store { return &local{sys: recordingSystem{r}} }

// Ops returns what has been recorded.
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

func (s recordingSystem) mkdir(name string) error {
	return s.r.do(Op{Kind: "mkdir", Name: name}, func() error { return osSystem{}.mkdir(name) })
}

func (s recordingSystem) create(name string, size int64) (sysFile, error) {
	var f sysFile
	err := s.r.do(Op{Kind: "create", Name: name}, func() (err error) {
		f, err = osSystem{}.create(name, size)
		return err
	})
	return &recordingFile{s.r, name, f}, err
}

func (s recordingSystem) syncDir(name string) error {
	return s.r.do(Op{Kind: "syncdir", Name: name}, func() error {
		if s.r.NoSync {
			return nil
		}
		return osSystem{}.syncDir(name)
	})
}

func (s recordingSystem) link(old, new string) error {
	return s.r.do(Op{Kind: "link", Name: old, To: new}, func() error {
		if s.r.NoLink {
			return linkError("link", old, new, errors.ErrUnsupported)
		}
		if s.r.NoSync {
			return os.Link(old, new)
		}
		return osSystem{}.link(old, new)
	})
}

func (s recordingSystem) rename(old, new string) error {
	return s.r.do(Op{Kind: "rename", Name: old, To: new}, func() error { return osSystem{}.rename(old, new) })
}

func (s recordingSystem) replace(old, new string) error {
	return s.r.do(Op{Kind: "replace", Name: old, To: new}, func() error { return osSystem{}.replace(old, new) })
}

func (s recordingSystem) exchange(a, b string) error {
	return s.r.do(Op{Kind: "exchange", Name: a, To: b}, func() error {
		if s.r.NoExchange {
			return linkError("exchange", a, b, errors.ErrUnsupported)
		}
		return osSystem{}.exchange(a, b)
	})
}

func (s recordingSystem) removeAll(name string) error {
	return s.r.do(Op{Kind: "remove", Name: name}, func() error { return osSystem{}.removeAll(name) })
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

func (f *recordingFile) writeAt(p []byte, off int64) error {
	return f.r.do(Op{Kind: "write", Name: f.name, Off: off, Data: slices.Clone(p)}, func() error { return f.f.writeAt(p, off) })
}

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

// FormatOps prints operations one a line. Writes that continue each other are
// one line, and the random parts of names are numbered as they come.
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
	var b strings.Builder
	for i := 0; i < len(ops); i++ {
		op := ops[i]
		fmt.Fprintf(&b, "%s %s", op.Kind, normal(op.Name))
		if op.To != "" {
			fmt.Fprintf(&b, " %s", normal(op.To))
		}
		if op.Kind == "write" {
			n := len(op.Data)
			for ; i+1 < len(ops) && ops[i+1].Kind == "write" && ops[i+1].Name == op.Name && ops[i+1].Off == op.Off+int64(n); i++ {
				n += len(ops[i+1].Data)
			}
			fmt.Fprintf(&b, " %d+%d", op.Off, n)
		}
		if op.Err != nil {
			fmt.Fprintf(&b, ": %v", reason(op.Err))
		}
		b.WriteByte('\n')
	}
	return b.String()
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
