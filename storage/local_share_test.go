package storage_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

func TestShare(t *testing.T) {
	top := t.TempDir()
	from := filepath.Join(top, "from")
	must(t, os.WriteFile(from, []byte("data"), 0o666))
	stage, err := begin(t, filepath.Join(top, "ck"), false)
	must(t, err)
	must(t, share(t, stage, from, "a/b/shared"))
	bad := []struct {
		from, name string
		want       error
	}{
		{from, "a/b/shared", fs.ErrExist},
		{filepath.Join(top, "missing"), "x", fs.ErrNotExist},
		{top, "x", nil}, // a directory
		{from, "../x", fault.ErrReservedName},
		{from, "a/b/shared/c", nil},
	}
	if os.Symlink("from", filepath.Join(top, "symbolic")) == nil {
		bad = append(bad, bad[0])
		bad[len(bad)-1].from, bad[len(bad)-1].name, bad[len(bad)-1].want = filepath.Join(top, "symbolic"), "x", nil
	}
	for _, b := range bad {
		if err := share(t, stage, b.from, b.name); err == nil || b.want != nil && !errors.Is(err, b.want) {
			t.Errorf("Share(%s, %s): %v", b.from, b.name, err)
		}
	}
	must(t, stage.Commit(t.Context()))
	if err := share(t, stage, from, "y"); err == nil {
		t.Error("shared after the commit")
	}
	if got := names(t, filepath.Join(top, "ck")); !slices.Equal(got, []string{"a"}) {
		t.Errorf("the stage has %q", got)
	}
	a, err := os.Stat(from)
	must(t, err)
	b, err := os.Stat(filepath.Join(top, "ck/a/b/shared"))
	must(t, err)
	if !os.SameFile(a, b) {
		t.Error("the bytes are not shared")
	}
	must(t, os.Remove(from))
	if got, err := os.ReadFile(filepath.Join(top, "ck/a/b/shared")); err != nil || string(got) != "data" {
		t.Errorf("%q, %v", got, err)
	}
}

// Where there are no hard links nothing is shared, and nothing is left.
func TestShareWithoutLinks(t *testing.T) {
	for name, r := range map[string]*storage.Recorder{
		"none": {NoLink: true},
		"another device": {Before: func(op storage.Op) error {
			if op.Kind == "link" {
				return syscall.EXDEV
			}
			return nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			top := t.TempDir()
			from := filepath.Join(top, "from")
			must(t, os.WriteFile(from, []byte("data"), 0o666))
			stage, err := r.Store().Begin(t.Context(), filepath.ToSlash(top)+"/ck", storage.BeginOptions{})
			must(t, err)
			if err := share(t, stage, from, "x"); !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("shared: %v", err)
			}
			put(t, stage, "x", "written instead")
			must(t, stage.Commit(t.Context()))
		})
	}
}

// The trace of a save that shares a file with an earlier one: no byte of the file is
// written, and its bytes and its name are durable before the rename.
func TestTraceShare(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the traces are those of Linux")
	}
	t.Chdir(t.TempDir())
	r := &storage.Recorder{}
	var ops int
	for step, text := range []string{"first", "second"} {
		ops = len(r.Ops())
		s, err := r.Store().Begin(t.Context(), fmt.Sprint("run/", step), storage.BeginOptions{})
		must(t, err)
		if step > 0 {
			must(t, share(t, s, "run/0/d/first", "d/first"))
		}
		put(t, s, "d/"+text, text)
		must(t, s.Commit(t.Context()))
	}
	compareGolden(t, "share.trace", storage.FormatOps(r.Ops()[ops:]))
	must(t, checkOrder(r.Ops()[ops:], "run/1"))
}

// Any one operation that fails leaves the checkpoint that has the file as it is,
// and the new one complete or not there.
func TestShareFailures(t *testing.T) {
	for index, hit := 0, true; hit; index++ {
		top := t.TempDir()
		from := filepath.Join(top, "from")
		must(t, os.WriteFile(from, []byte("data"), 0o666))
		hit = false
		n := 0
		r := &storage.Recorder{NoSync: true, Before: func(op storage.Op) error {
			if n++; n-1 != index || op.Kind == "unlock" {
				return nil
			}
			hit = true
			return syscall.EIO
		}}
		err := func() error {
			stage, err := r.Store().Begin(t.Context(), filepath.ToSlash(top)+"/ck", storage.BeginOptions{})
			if err != nil {
				return err
			}
			if err := share(t, stage, from, "d/f"); err != nil {
				return errors.Join(err, stage.Abort())
			}
			return stage.Commit(t.Context())
		}()
		if hit && !errors.Is(err, syscall.EIO) || !hit && err != nil && index >= len(r.Ops()) {
			t.Errorf("operation %d: %v", index, err)
		}
		hit = hit || index < len(r.Ops())
		got, rerr := os.ReadFile(filepath.Join(top, "ck", "d", "f"))
		if rerr == nil && string(got) != "data" || rerr != nil && err == nil {
			t.Errorf("operation %d: %q, %v", index, got, rerr)
		}
		if got, err := os.ReadFile(from); err != nil || string(got) != "data" {
			t.Errorf("operation %d: the shared file is %q, %v", index, got, err)
		}
	}
}

// Whenever the power fails, the new checkpoint has its shared files or is not there, and
// the old one is whole. If a program has restored the old one without syncing files, the
// new one still has the shared files.
func TestPowerLossShare(t *testing.T) {
	t.Chdir(t.TempDir())
	r := &storage.Recorder{NoSync: true}
	var first []storage.Op
	for step, text := range []string{"first", "second"} {
		if step > 0 {
			first = r.Ops()
		}
		s, err := r.Store().Begin(t.Context(), fmt.Sprint("run/", step), storage.BeginOptions{})
		must(t, err)
		if step > 0 {
			must(t, share(t, s, "run/0/d/first", "d/first"))
		}
		put(t, s, "d/"+text, text)
		must(t, s.Commit(t.Context()))
	}
	all := r.Ops()
	holds := func(m image, name, want string) bool {
		var b []byte
		node := m.find(name)
		for _, e := range m.writes[node] {
			b = append(b, e.data...)
		}
		return node != nil && string(b) == want
	}
	// replay leaves out the operation at skip, and the syncs of the first checkpoint's
	// files if it was restored.
	replay := func(skip int, restored bool) error {
		rng := rand.New(rand.NewPCG(1, 2))
		d := &disk{now: newImage()}
		for i, op := range all {
			if i != skip && !(restored && i < len(first) && op.Kind == "sync") {
				d.do(op)
			}
			if i < len(first) {
				continue
			}
			var bad error
			d.crashes(rng, func(m image) {
				there := m.find("run/1") != nil
				if !restored && !holds(m, "run/0/d/first", "first") || there && (!holds(m, "run/1/d/first", "first") || !holds(m, "run/1/d/second", "second")) ||
					!there && i == len(all)-1 {
					bad = fmt.Errorf("power lost after %s %s", op.Kind, op.Name)
				}
			})
			if bad != nil {
				return bad
			}
		}
		return nil
	}
	must(t, replay(-1, false))
	must(t, replay(-1, true))
	for i, op := range all {
		if (op.Kind == "sync" || op.Kind == "syncdir") && replay(i, false) == nil && replay(i, true) == nil {
			t.Errorf("without %s %s nothing is lost", op.Kind, op.Name)
		}
	}
}
