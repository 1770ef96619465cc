package partial_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/partial"
	"github.com/go-orbax/orbax/storage"
)

// forgetful is the local disk, except that it fails to find an existing entry when left
// runs out, times times in a row.
type forgetful struct {
	mu          sync.Mutex
	left, times int
	lost        []string
}

func (f *forgetful) store() storage.Store {
	return failstore.NewReads(storage.Local(), func(op, name string) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.left--; f.left >= 0 || f.left < -f.times {
			return nil
		}
		f.lost = append(f.lost, op+" "+filepath.Base(name))
		return failstore.NotFound(op, name)
	})
}

// A file system that fails to find existing files, once or a few times in a row, costs no
// part. Finalize succeeds with all parts, or it fails and leaves the session or an intact
// checkpoint.
func TestFinalizeLosesNothing(t *testing.T) {
	t.Parallel()
	session, _, whole := prepare(t, plain, 3)
	python := func() string { // parts that Orbax has saved have no digests
		path := session()
		names, err := filepath.Glob(path + ".partial_save/*/digests.*")
		must(t, err)
		for _, name := range names {
			must(t, os.Remove(name))
		}
		return path
	}
	step := 12 * stride() // some of the operations, other ones each time
	if stride() == 1 {
		step = 1
	}
	for _, times := range []int{1, 3} {
		for who, session := range map[string]func() string{"Go": session, "Python": python} {
			for n := rand.N(step); ; n += step {
				path := session()
				missing := &forgetful{left: n, times: times}
				err := partial.Finalize(t.Context(), filepath.ToSlash(path), orbax.In(missing.store()))
				what := fmt.Sprintf("%s: %d operations from %d: %q", who, times, n, missing.lost)
				if len(missing.lost) == 0 {
					must(t, err)
					break
				}
				checkFinalized(t, what, path, whole, err)
				if t.Failed() {
					return
				}
			}
		}
	}
}

// checkFinalized checks that all data of a session exist after Finalize has returned err,
// and finalizes the session.
func checkFinalized(t *testing.T, what, path string, whole any, err error) {
	t.Helper()
	made := orbax.Verify(t.Context(), path) == nil
	if _, serr := os.Stat(path); (serr == nil) != made {
		t.Fatalf("%s: %v; the checkpoint: %v", what, err, orbax.Verify(t.Context(), path))
	}
	s, serr := partial.Open(t.Context(), path)
	if !made && (serr != nil || len(s.Parts) != 3) {
		t.Fatalf("%s: %v; the session: %v", what, err, serr)
	}
	if err == nil && !made {
		t.Fatalf("%s: success, and there is nothing", what)
	}
	must(t, partial.Finalize(t.Context(), path))
	wantSame(t, path, whole)
}
