package object_test

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/go-orbax/orbax/storage/object"
)

// The path of a URL is a name in the store. One that leads out of the bucket is none.
func TestNameIn(t *testing.T) {
	for path, want := range map[string]string{
		"": ".", "/": ".", "//": ".", "/run": "run", "/run/": "run", "//run//1/": "run/1", "/run/./1": "run/1", "/a/../b": "b", "/a/..": ".",
		"/a/../../b": "", "/..": "", "/../x": "", "..": "", "/a/b/../../../c": "", "/...": "...", "/a b/..c": "a b/..c",
	} {
		got, err := object.NameIn(path)
		if got != want || (err != nil) != (want == "") || err != nil && !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%q is %q, %v; want %q", path, got, err, want)
		}
	}
}
