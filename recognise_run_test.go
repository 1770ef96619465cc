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

// TestDirectoryOfCheckpoints checks that who gives the path of a run is told which of
// its entries are checkpoints, also those of old releases and of Flax.
func TestDirectoryOfCheckpoints(t *testing.T) {
	run := func(names ...string) string {
		dir := t.TempDir()
		for _, name := range names {
			file := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
				t.Fatal(err)
			}
			writeFile(t, file, "{}")
		}
		return dir
	}
	many := make([]string, 9)
	for i := range many {
		many[i] = fmt.Sprintf("s%d/_CHECKPOINT_METADATA", i+5)
	}
	far := make([]string, 120)
	for i := range far {
		far[i] = fmt.Sprintf("a%d", i)
	}
	for dir, says := range map[string]string{
		run("1/_CHECKPOINT_METADATA"):              "give the path of one of them: 1",
		run("a.txt", "b/c.txt"):                    "not a checkpoint, and none of its entries is one",
		run(many...):                               "9 of them; give the path of one, such as that of s13 in it",
		run(append(far, "z/default/_METADATA")...): "not a checkpoint",
		run("5/_METADATA", "5.orbax-checkpoint-tmp-1/_METADATA", "6.partial_save/_METADATA"): "",
	} {
		_, err := orbax.Load(t.Context(), dir)
		if says == "" {
			if err == nil || strings.Contains(err.Error(), "tmp-1") {
				t.Errorf("%v", err)
			}
			continue
		}
		if !errors.Is(err, orbax.ErrInvalidCheckpoint) || !strings.HasSuffix(err.Error(), says) {
			t.Errorf("%v, want %s", err, says)
		}
	}
}
