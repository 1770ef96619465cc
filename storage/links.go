package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"github.com/go-orbax/orbax/internal/fault"
)

// Confine returns the store for a reader of the checkpoint at root who does not trust
// it: Open and List refuse names below root that a symbolic link leads out of it, with
// an error that matches orbax.ErrLink, unless outside is true. Root itself may be a
// link, and links below it may lead to what is below it. The files of a checkpoint in
// the cache of a model hub are links to the directory blobs of the same model there,
// and are no way out.
//
// Either way no directory appears inside of itself: one that is a directory above it,
// by way of a link, is listed as empty. A store that has no links is returned as it is.
func Confine(s Store, root string, outside bool) Store {
	if confined := s.Confined(root, outside); confined != nil {
		return confined
	}
	return s
}

// Confined keeps the bounds of Confine.
func (l *local) Confined(root string, outside bool) Store {
	confined := *l
	confined.within = &bounds{root: path.Clean(root), outside: outside, plain: map[string]bool{}}
	return &confined
}

// bounds are those of a confined store.
type bounds struct {
	root    string
	outside bool // links may lead there

	mu     sync.Mutex
	plain  map[string]bool // directories that no link below root leads to
	linked int             // directories that have been listed through a link
}

// maxLinked is how many directories may be reached through links. Links that lead to
// directories of links stand for a number of paths that doubles with each.
const maxLinked = 4096

// enter returns the description of what is at name, as os.Stat does, and whether a
// link below the root leads there. One that leads out is an error. A nil bounds
// confines nothing.
func (b *bounds) enter(name string) (info fs.FileInfo, linked bool, err error) {
	name = path.Clean(name)
	rest, inside := "", false
	if b != nil {
		rest, inside = strings.CutPrefix(name, strings.TrimSuffix(b.root, "/")+"/")
	}
	if !inside {
		info, err = os.Stat(name)
		return info, false, err
	}
	if dir := path.Dir(rest); dir != "." && !b.isPlain(path.Join(b.root, dir)) {
		linked = true
	} else if info, err = os.Lstat(name); err != nil {
		return nil, false, err
	} else {
		linked = info.Mode()&fs.ModeSymlink != 0
	}
	if !linked {
		return info, false, nil
	}
	if info, err = os.Stat(name); err != nil {
		return nil, true, err
	}
	return info, true, b.resolve(name)
}

// isPlain reports whether no link leads from the root to dir, which is below it.
func (b *bounds) isPlain(dir string) bool {
	b.mu.Lock()
	known := b.plain[dir]
	b.mu.Unlock()
	if known {
		return true
	}
	if up := path.Dir(dir); up != b.root && !b.isPlain(up) {
		return false
	}
	info, err := os.Lstat(dir)
	if err != nil || info.Mode()&fs.ModeSymlink != 0 {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.plain[dir] = true
	return true
}

// resolve refuses a name that leads out of the root.
func (b *bounds) resolve(name string) error {
	if b.outside {
		return nil
	}
	root, err := filepath.EvalSymlinks(b.root)
	if err != nil {
		return err
	}
	target, err := filepath.EvalSymlinks(name)
	if err != nil {
		return err
	}
	root, target = filepath.ToSlash(root), filepath.ToSlash(target)
	if target == root || strings.HasPrefix(target, strings.TrimSuffix(root, "/")+"/") || inHub(root, target) {
		return nil
	}
	return fault.Advise(fmt.Errorf("%s: %w: to %s", name, fault.ErrLink, target), fault.FollowLinks,
		"give the option FollowLinks to read it, if you trust whoever made the checkpoint")
}

// inHub reports whether the file target is in the blobs of the model in whose cache
// root is: <type>s--<owner>--<name>/snapshots/<revision>, beside blobs.
func inHub(root, target string) bool {
	for dir := root; dir != path.Dir(dir); dir = path.Dir(dir) {
		hub := path.Dir(dir)
		if path.Base(dir) != "snapshots" || dir == root {
			continue
		}
		kind, name, ok := strings.Cut(path.Base(hub), "--")
		known := kind == "models" || kind == "datasets" || kind == "spaces"
		if ok && known && name != "" && path.Dir(target) == path.Join(hub, "blobs") {
			return true
		}
	}
	return false
}

// loops reports whether dir, which a link leads to, is a directory above itself.
func (b *bounds) loops(dir string) (bool, error) {
	b.mu.Lock()
	b.linked++
	many := b.linked > maxLinked
	b.mu.Unlock()
	if many {
		return false, fmt.Errorf("%s: %w: more than %d directories are reached through links", dir, fault.ErrUnsupported, maxLinked)
	}
	self, err := os.Stat(dir)
	if err != nil {
		return false, err
	}
	for up := path.Dir(dir); ; up = path.Dir(up) {
		info, err := os.Stat(up)
		if err != nil {
			return false, err
		}
		if os.SameFile(self, info) {
			return true, nil
		}
		if up == b.root {
			return false, nil
		}
	}
}

// openRegular opens a regular file for reading.
func (b *bounds) openRegular(name string) (*os.File, fs.FileInfo, error) {
	info, _, err := b.enter(name)
	if err != nil {
		return nil, nil, err
	}
	// To open a device can do something, and a directory cannot be read.
	if !info.Mode().IsRegular() {
		return nil, nil, notRegular(name)
	}
	f, err := os.OpenFile(name, os.O_RDONLY|nonblock, 0) // it may have become a FIFO
	if wouldBlock(err) {                                 // a file that another program has leased
		f, err = os.Open(name)
	}
	if err != nil {
		return nil, nil, err
	}
	if info, err = f.Stat(); err == nil && !info.Mode().IsRegular() {
		err = notRegular(name)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

func notRegular(name string) error { return fmt.Errorf("%s: not a regular file", name) }

// readDir returns the entries of a directory.
func (b *bounds) readDir(dir string) ([]fs.DirEntry, error) {
	if b == nil {
		return os.ReadDir(dir)
	}
	info, linked, err := b.enter(dir)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: dir, Err: errors.New("not a directory")}
	}
	if linked {
		if loop, err := b.loops(path.Clean(dir)); loop || err != nil {
			return nil, err
		}
	}
	return os.ReadDir(dir)
}
