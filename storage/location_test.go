package storage_test

import (
	"os"
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
			if path, ok := at.LocalPath(); path != filepath.FromSlash(want.name) || !ok {
				t.Errorf("its path is %q, %v; want %q", path, ok, want.name)
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
	if path, ok := storage.At(storage.FS(os.DirFS(cwd)), "run").LocalPath(); ok {
		t.Errorf("a name in another store is the path %q", path)
	}
	at := storage.At(storage.Local(), "/a//b/")
	if at.Name != "/a/b" || at.String() != "/a/b" || at.Join("c").String() != "/a/b/c" || at.Dir().String() != "/a" {
		t.Errorf("At: %q, called %q, below %q, above %q", at.Name, at, at.Join("c"), at.Dir())
	}
}

// The text of a location below a URL leads to that location, whatever the names are.
func TestJoinURL(t *testing.T) {
	ctx := t.Context()
	run, err := storage.Resolve(ctx, "file:///run")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"1", "x%2F..%2F..%2Fetc", "a?b", "a#b", "a b", "1/state"} {
		below := run.Join(name)
		again, err := storage.Resolve(ctx, below.String())
		if err != nil || again.Name != below.Name {
			t.Errorf("%q: %s leads to %q, %v; want %q", name, below, again.Name, err, below.Name)
		}
	}
}

// The query of a URL stays at its end.
func TestLocationQuery(t *testing.T) {
	at := storage.Location{Name: "run", Called: "mq://key:secret@bucket/run/?sig=top#x"}
	for _, c := range []struct{ what, got, want string }{
		{"below", at.Join("1", "a b").Path(), "mq://key:secret@bucket/run/1/a%20b?sig=top#x"},
		{"above", at.Dir().Path(), "mq://key:secret@bucket/?sig=top#x"},
		{"below above", at.Dir().Join("2").Path(), "mq://key:secret@bucket/2?sig=top#x"},
		{"shown", at.Join("1").String(), "mq://xxxxx@bucket/run/1?sig=xxxxx#x"},
	} {
		if c.got != c.want {
			t.Errorf("%s is %s, want %s", c.what, c.got, c.want)
		}
	}
}

// A name in the store of the disk does not follow a change of the working directory.
func TestAtRelative(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	at := storage.At(storage.Local(), "run/1")
	t.Chdir(t.TempDir())
	must(t, os.MkdirAll(filepath.Join(dir, "run", "1"), 0o777))
	if info, err := at.Stat(t.Context()); err != nil || !info.Dir {
		t.Errorf("%s is %v, %v", at.Name, info, err)
	}
	if at.Path() != "run/1" {
		t.Errorf("it is called %s", at.Path())
	}
}

// A neighbour has a URL like that of the location itself, also in the root of a store.
func TestNeighbourURL(t *testing.T) {
	for _, c := range []struct{ called, name, want string }{
		{"mem://one", "one", "mem://two/x"},
		{"mem://one?a=b", "one", "mem://two/x?a=b"},
		{"file:///one", "/one", "file:///two/x"},
		{"mq://bucket/one", "one", "mq://bucket/two/x"},
	} {
		at := storage.Location{Name: c.name, Called: c.called}
		if got := at.Dir().Join("two", "x").Path(); got != c.want {
			t.Errorf("beside %s is %s, want %s", c.called, got, c.want)
		}
	}
}
