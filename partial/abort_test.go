package partial_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/partial"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/mem"
)

// An Abort that dies leaves files of the session under a temporary name. The next one
// removes them, although the session is gone.
func TestAbortAgain(t *testing.T) {
	t.Parallel()
	session, _, _ := prepare(t, plain, 2)
	path := session()
	must(t, os.Rename(path+".partial_save", path+".partial_save"+storage.TempMarker+"-0123456789abcdef"))
	if err := partial.Abort(t.Context(), path); !errors.Is(err, orbax.ErrNotExist) {
		t.Errorf("got %v, want ErrNotExist", err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); len(left) > 0 || err != nil {
		t.Errorf("%v is left, %v", left, err)
	}
}

// A name that leads out of the store is no name of a session.
func TestNameOfParent(t *testing.T) {
	for _, name := range []string{"..", "../..", "a/.."} {
		if err := partial.Save(t.Context(), name, map[string]any{"a": 1}, orbax.In(mem.New())); !errors.Is(err, orbax.ErrReservedName) {
			t.Errorf("%q: got %v, want ErrReservedName", name, err)
		}
	}
}
