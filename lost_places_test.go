package orbax_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
)

// Without the record of places no array can be read. The metadata says so, and Verify says
// it once.
func TestPlacesLost(t *testing.T) {
	ctx := t.Context()
	state := map[string]any{"text": "t"}
	for i := range 30 {
		state[fmt.Sprint("a", i)] = []float32{float32(i)}
	}
	for what, damage := range map[string]func(file string) error{
		"missing": os.Remove,
		"damaged": func(file string) error { return os.WriteFile(file, []byte("go-orbax places 1\n"), 0o666) },
	} {
		path := filepath.Join(t.TempDir(), "ck")
		if err := orbax.Save(ctx, path, state); err != nil {
			t.Fatal(err)
		}
		if err := damage(filepath.Join(path, "state", "go-orbax.places")); err != nil {
			t.Fatal(err)
		}
		m, err := orbax.Metadata(ctx, path)
		if err != nil {
			t.Fatal(err)
		}
		broken := 0
		for _, l := range m.Tree.Leaves {
			if l.Err != nil {
				broken++
			}
		}
		if err := m.Err(); broken != 30 || !errors.Is(err, orbax.ErrCorrupt) || !strings.Contains(err.Error(), "go-orbax.places") {
			t.Errorf("%s: %d of 30 arrays are broken: %v", what, broken, err)
		}
		err = orbax.Verify(ctx, path)
		if !errors.Is(err, orbax.ErrCorrupt) || strings.Count(err.Error(), "go-orbax.places") != 1 {
			t.Errorf("%s: Verify reports more than one line: %v", what, err)
		}
	}
}
