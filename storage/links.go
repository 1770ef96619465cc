package storage

import (
	"context"
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

// Confine returns the store for reading a checkpoint at root that the program does not
// trust. Its Open and List refuse names below root whose symbolic links lead out of root,
// with an error that matches orbax.ErrLink. If outside is true, they allow such links.
//
// Root itself may be a link, and links may lead to files and directories below root. The
// links of a model hub's cache are allowed too: they lead to files in the directory blobs
// of the same model.
//
// In both cases no directory appears inside itself: a link to a directory above it is
// listed as an empty directory. A store without links is returned unchanged.
func Confine(s Store, root string, outside bool) Store {
	if confined := s.Confined(root, outside); confined != nil {
		return confined
	}
	return s
}

// Confined returns the store with the bounds that [Confine] describes.
func (l *local) Confined(root string, outside bool) Store {
	confined := *l
	confined.within = &bounds{root: path.Clean(root), outside: outside, plain: map[string]bool{}}
	return &confined
}

// Snapshot returns nil: a look at the disk costs little.
func (*local) Snapshot(context.Context, string) (Store, error) { return nil, nil }

// bounds are the limits of a confined store.
type bounds struct {
	root    string
	outside bool // links may lead out of root

	mu     sync.Mutex
	plain  map[string]bool // directories below root that are reached without links
	linked int             // number of directories that were listed through a link
}

// maxLinked is how many directories may be reached through links. With links to
// directories of links the number of paths would double at each level.
const maxLinked = 4096

// enter describes the file or directory at name, as os.Stat does, and reports whether a
// link below the root leads there. A link that leads out of the root is an error. A nil
// bounds confines nothing.
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

// isPlain reports whether dir, which is below the root, is reached from the root without
// links.
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

// inHub reports whether the file target is among the blobs of the model whose cache
// contains root. The cache has the directories
// <type>s--<owner>--<name>/snapshots/<revision> and <type>s--<owner>--<name>/blobs.
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

// loops reports whether dir, which a link leads to, is one of the directories above it.
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
	// Opening a device can have effects, and a directory cannot be read.
	if !info.Mode().IsRegular() {
		return nil, nil, notRegular(name)
	}
	f, err := os.OpenFile(name, os.O_RDONLY|nonblock, 0) // the file may have become a FIFO
	if wouldBlock(err) {                                 // another program has a lease on the file
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
