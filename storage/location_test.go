package storage_test

import (
	"path"
	"path/filepath"
	"testing"

	"github.com/go-orbax/orbax/storage"
)

// Join and Dir keep the spelling of the caller.
func TestLocation(t *testing.T) {
	t.Chdir(t.TempDir())
	abs, err := filepath.Abs(".")
	must(t, err)
	cwd := filepath.ToSlash(abs)
	for called, want := range map[string]struct{ name, below, above string }{
		"run":              {cwd + "/run", "run/1/state", "."},
		"./run/":           {cwd + "/run", "run/1/state", "."},
		"a/run":            {cwd + "/a/run", "a/run/1/state", "a"},
		"/ckpt/run":        {"/ckpt/run", "/ckpt/run/1/state", "/ckpt"},
		".":                {cwd, "1/state", path.Dir(cwd)},
		"..":               {path.Dir(cwd), "../1/state", path.Dir(path.Dir(cwd))},
		"file:///ckpt/run": {"/ckpt/run", "file:///ckpt/run/1/state", "file:///ckpt/"},
		"file:///ckpt/r/":  {"/ckpt/r", "file:///ckpt/r/1/state", "file:///ckpt/"},
	} {
		t.Run(called, func(t *testing.T) {
			at, err := storage.Resolve(t.Context(), filepath.FromSlash(called))
			must(t, err)
			if filepath.VolumeName(abs) != "" {
				t.Skip("names have volumes here")
			}
			below, above := at.Join("1/state"), at.Dir()
			for _, c := range []struct{ what, got, want string }{
				{"its name", at.Name, want.name},
				{"what it is called", at.String(), called},
				{"its base", at.Base(), path.Base(want.name)},
				{"the name below", below.Name, path.Join(want.name, "1/state")},
				{"what is called below", below.String(), want.below},
				{"the name above", above.Name, path.Dir(want.name)},
				{"what is called above", above.String(), want.above},
			} {
				if c.got != c.want {
					t.Errorf("%s is %q, want %q", c.what, c.got, c.want)
				}
			}
		})
	}
	at := storage.At(storage.Local(), "/a//b/")
	if at.Name != "/a/b" || at.String() != "/a/b" || at.Join("c").String() != "/a/b/c" || at.Dir().String() != "/a" {
		t.Errorf("At: %q, called %q, below %q, above %q", at.Name, at, at.Join("c"), at.Dir())
	}
}
