package partial_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/multihost"
	"github.com/go-orbax/orbax/partial"
)

// The processes of a group save parts together, at once and in the background, and one of
// them finalizes the session. In one program their turns do not wait for each other.
func TestGroup(t *testing.T) { onDisks(t, testGroup) }

func testGroup(t *testing.T, d disk) {
	path := filepath.ToSlash(filepath.Join(t.TempDir(), "ck"))
	const n, parts = 3, 6
	errs := make([]error, n)
	var all sync.WaitGroup
	for rank, group := range coord.InProcess(n) {
		all.Go(func() {
			together := multihost.Together{Group: group}
			for i := range parts {
				state := map[string]any{fmt.Sprint("x", i): make([]float32, 50_000), fmt.Sprint("step", i): i}
				var err error
				if i%2 == 0 {
					err = partial.Save(t.Context(), path, state, together, d.in())
				} else if resp, aerr := partial.SaveAsync(t.Context(), path, state, together, d.in()); aerr != nil {
					err = aerr
				} else {
					err = resp.Result(t.Context())
				}
				errs[rank] = errors.Join(errs[rank], err)
			}
			errs[rank] = errors.Join(errs[rank], group.Close())
		})
	}
	all.Wait()
	for rank, err := range errs {
		if err != nil {
			t.Fatalf("process %d: %v", rank, err)
		}
	}
	must(t, partial.Finalize(t.Context(), path, d.in()))
	must(t, orbax.Verify(t.Context(), path, d.in()))
	state, err := orbax.Load(t.Context(), path, d.in())
	must(t, err)
	if got := state.(map[string]any); len(got) != 2*parts || got["step5"] != 5 {
		t.Errorf("the checkpoint has %v", got)
	}
}
