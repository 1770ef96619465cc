package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/testenv"
)

// Each reading of a directory is the list of its names; those with - cannot be described.
func TestListStable(t *testing.T) {
	for name, tc := range map[string]struct {
		readings []string // the last goes on
		want     string
		err      error
	}{
		"still":                      {[]string{"a b"}, "a b", nil},
		"empty":                      {[]string{""}, "", nil},
		"a step follows another":     {[]string{"-1 -2.tmp", "2"}, "2", nil},
		"and another":                {[]string{"-1 -2.tmp", "-2 -3.tmp", "3"}, "3", nil},
		"one that is not found once": {[]string{"a -b c", "a b c"}, "a b c", nil},
		"one that stays away":        {[]string{"a -b c"}, "a c", nil},
		"several, one after another": {[]string{"-a -b c", "a -b c", "a b c"}, "a b c", nil},
		"gone as a whole":            {[]string{"-a", "!"}, "", fs.ErrNotExist},
	} {
		t.Run(name, func(t *testing.T) {
			n := -1
			var now string
			infos, err := listStable(t.Context(), "dir", func() ([]fs.DirEntry, error) {
				n++
				now = tc.readings[min(n, len(tc.readings)-1)]
				if now == "!" {
					return nil, fs.ErrNotExist
				}
				all := fstest.MapFS{}
				for _, e := range strings.Fields(now) {
					all[strings.TrimPrefix(e, "-")] = &fstest.MapFile{}
				}
				return fs.ReadDir(all, ".")
			}, func(e fs.DirEntry) (Info, bool, error) {
				if slices.Contains(strings.Fields(now), "-"+e.Name()) {
					return Info{}, false, fs.ErrNotExist
				}
				return Info{Name: e.Name()}, true, nil
			})
			var got []string
			for _, info := range infos {
				got = append(got, info.Name)
			}
			if strings.Join(got, " ") != tc.want || !errors.Is(err, tc.err) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

// A directory that never stands still is an error, and ends with the context.
func TestListNeverStill(t *testing.T) {
	n := 0
	list := func(ctx context.Context) error {
		_, err := listStable(ctx, "dir", func() ([]fs.DirEntry, error) {
			n++
			return fs.ReadDir(fstest.MapFS{fmt.Sprint(n): {}}, ".")
		}, func(fs.DirEntry) (Info, bool, error) { return Info{}, false, fs.ErrNotExist })
		return err
	}
	if err := list(t.Context()); !errors.Is(err, fault.ErrBusy) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := list(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A directory that always has a step, with ever new names, never looks empty.
func TestListWhileStepsFollow(t *testing.T) {
	dir := t.TempDir()
	step := func(i int) string { return filepath.Join(dir, fmt.Sprint(i)) }
	if err := os.Mkdir(step(0), 0o777); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		for i := range testenv.Pick(3000, 500) {
			if err := errors.Join(os.Mkdir(step(i+1)+".tmp", 0o777), os.Rename(step(i+1)+".tmp", step(i+1)), os.Remove(step(i))); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
		}
		for _, s := range []struct {
			store Store
			dir   string
		}{{Local(), filepath.ToSlash(dir)}, {FS(os.DirFS(dir)), "."}} {
			if infos, err := s.store.List(t.Context(), s.dir); err == nil && len(infos) == 0 || err != nil && !errors.Is(err, fault.ErrBusy) {
				t.Fatalf("%v, %v", infos, err)
			}
		}
	}
}
