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

// Without the record of places no array can be read. Verify says it once, and not for each
// array.
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
		err := orbax.Verify(ctx, path)
		if !errors.Is(err, orbax.ErrCorrupt) || strings.Count(err.Error(), "go-orbax.places") != 1 {
			t.Errorf("%s: Verify reports more than one line: %v", what, err)
		}
	}
}
