package union

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-orbax/orbax/internal/database"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/pytree"
	"github.com/go-orbax/orbax/internal/treesave"
)

// FindBroken also looks at the data files of a process whose database has not been
// merged.
func TestBrokenDataFileOfProcess(t *testing.T) {
	dir := saveUnmerged(t, map[string]any{"a": make([]float32, 3000), "n": 1}, treesave.Storage{})
	files, err := filepath.Glob(filepath.Join(dir.At().Name, database.NameOf(0), "d", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if info, err := os.Stat(file); err == nil && info.Size() >= 12000 {
			err = os.Truncate(file, 12000)
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	tree, err := pytree.Open(t.Context(), dir, pytree.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range tree.Metadata().Leaves {
		if broken := l.Path.String() == "a"; broken != errors.Is(l.Err, fault.ErrCorrupt) {
			t.Errorf("%v: %v", l.Path, l.Err)
		}
	}
}
