package training_test

import (
	"context"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/training"
)

// escaping are the hooks of the store that URLs with this scheme lead to.
var escaping = &hooks{}

func init() {
	storage.Register("escaping", func(_ context.Context, u *url.URL) (storage.Store, string, error) {
		return escaping.store(), u.Path, nil
	})
}

// Names that a URL escapes are the names of the same entries: a step that is being removed
// is listed no more, and is removed once.
func TestNamesThatURLsEscape(t *testing.T) {
	t.Parallel()
	var claims atomic.Int64
	for _, prefix := range []string{"ck", "my run"} {
		root := filepath.ToSlash(filepath.Join(t.TempDir(), "run"))
		release := make(chan struct{})
		claims.Store(0)
		escaping.edit = func(dir string) {
			if strings.HasSuffix(dir, prefix+"_1") {
				claims.Add(1)
				<-release
			}
		}
		c := openRun(t, "escaping://host"+root, training.Options{
			StepNameFormat: training.StandardNameFormat{Prefix: prefix}, Preservation: training.LatestN{N: 1},
		})
		var once sync.Once
		free := func() { once.Do(func() { close(release) }) }
		t.Cleanup(free) // before the Checkpointer is closed
		if _, err := c.Save(t.Context(), 1, stateOf(1), orbax.Name("weights")); err != nil {
			t.Fatal(err)
		}
		mustSave(t, c, 2) // keeps the name of the pytree
		if err := c.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := listed(c); !slices.Equal(got, []int{2}) {
			t.Errorf("%q: steps %v while 1 is being removed", prefix, got)
		}
		mustSave(t, c, 3)
		free()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if n := claims.Load(); n != 1 {
			t.Errorf("%q: step 1 was claimed %d times", prefix, n)
		}
		if _, err := orbax.Load(t.Context(), filepath.Join(root, prefix+"_3"), orbax.Name("weights")); err != nil {
			t.Errorf("%q: %v", prefix, err)
		}
	}
}
