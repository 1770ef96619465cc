package partial_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/internal/orbaxtest"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/partial"
	"github.com/go-orbax/orbax/storage"
)

// errStopped is the error of an operation that is made to fail.
var errStopped = errors.New("stopped")

// disk is a kind of store on the local disk.
type disk string

const (
	plain  disk = "plain"
	marked disk = "marked" // it cannot rename, so every directory needs a marker
)

func onDisks(t *testing.T, test func(t *testing.T, d disk)) {
	t.Parallel()
	for _, d := range []disk{plain, marked} {
		t.Run(string(d), func(t *testing.T) { test(t, d) })
	}
}

// over returns an option for a store of this kind over another one.
func (d disk) over(store storage.Store) orbax.StoreOption {
	if d == marked {
		store = failstore.NewMarked(store)
	}
	return orbax.In(store)
}

// in returns the option for the store.
func (d disk) in() orbax.StoreOption { return d.over(storage.Local()) }

// stopAt returns the store, except that the operation after n others fails, or kills the
// process.
func (d disk) stopAt(n int, die bool) orbax.StoreOption {
	var left atomic.Int64 // operations that still succeed
	left.Store(int64(n))
	return d.over(failstore.New(storage.Local(), func(op, name string) error {
		switch {
		case left.Add(-1) != -1:
			return nil
		case die:
			p, _ := os.FindProcess(os.Getpid())
			p.Kill()
			select {} // the process takes a moment to die
		}
		return fmt.Errorf("%w: %s %s", errStopped, op, name)
	}))
}

// prepare returns a function that makes equal sessions with n of three parts.
func prepare(t *testing.T, d disk, n int) (session func() (path string), third any, whole any) {
	t.Helper()
	model := filepath.ToSlash(filepath.Join(t.TempDir(), "ck"))
	parts, all := threeParts()
	for _, p := range parts[:n] {
		must(t, partial.Save(t.Context(), model, p, d.in()))
	}
	return func() string {
		path := filepath.ToSlash(filepath.Join(t.TempDir(), "ck"))
		must(t, os.CopyFS(path+".partial_save", os.DirFS(model+".partial_save")))
		return path
	}, parts[2], all
}

// stride is the distance between the operations at which a test stops. The first one is
// random.
func stride() int { return testenv.Pick(1, 7) }

// If any single operation of a save or a finalize fails, the session is unchanged or the
// call has succeeded. The call can be repeated.
func TestEveryFailure(t *testing.T) { onDisks(t, testEveryFailure) }

func testEveryFailure(t *testing.T, d disk) {
	session, third, whole := prepare(t, d, 2)
	for n := rand.N(stride()); ; n += stride() {
		path := session()
		err := partial.Save(t.Context(), path, third, d.stopAt(n, false))
		s, oerr := partial.Open(t.Context(), path, d.in())
		must(t, oerr)
		if err == nil {
			break
		}
		if !errors.Is(err, errStopped) || len(s.Parts) != 2 {
			t.Fatalf("operation %d: %d parts, %v", n, len(s.Parts), err)
		}
		must(t, partial.Save(t.Context(), path, third, d.in()))
		must(t, partial.Finalize(t.Context(), path, d.in()))
		wantSame(t, path, whole, d.in())
	}
	session, _, _ = prepare(t, d, 3)
	for n := rand.N(stride()); ; n += stride() {
		path := session()
		err := partial.Finalize(t.Context(), path, d.stopAt(n, false))
		if err == nil {
			break
		}
		if _, serr := os.Stat(path); !errors.Is(err, errStopped) || serr == nil && !strings.Contains(err.Error(), "in place") {
			t.Fatalf("operation %d: %v; the checkpoint: %v", n, err, serr)
		}
		must(t, partial.Finalize(t.Context(), path, d.in()))
		wantSame(t, path, whole, d.in())
		if got := names(t, filepath.Dir(path)); len(got) != 1 {
			t.Errorf("operation %d: left %q", n, got)
		}
	}
}

// TestChild is run by a child process that dies at an operation.
func TestChild(t *testing.T) {
	mode, rest, ok := testenv.Child()
	if !ok {
		t.Skip("only for the test of crashes")
	}
	kind, rest, _ := strings.Cut(rest, ":")
	at, path, _ := strings.Cut(rest, ":")
	n, err := strconv.Atoi(at)
	must(t, err)
	in := disk(kind).stopAt(n, true)
	if mode == "save" {
		parts, _ := threeParts()
		must(t, partial.Save(context.Background(), path, parts[2], in))
		return
	}
	must(t, partial.Finalize(context.Background(), path, in))
}

// died runs a child process and reports whether it was killed.
func died(t *testing.T, d disk, mode string, n int, path string) bool {
	t.Helper()
	cmd := orbaxtest.Child(t, "TestChild", mode, fmt.Sprintf("%s:%d:%s", d, n, path))
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState.ExitCode() > 0 {
		t.Fatalf("%s at %d: %v\n%s", mode, n, err, out)
	}
	return err != nil
}

// A process that dies at any operation of a save leaves the session unchanged. At any
// operation of a finalize it leaves the session or the checkpoint.
func TestEveryDeath(t *testing.T) { onDisks(t, testEveryDeath) }

func testEveryDeath(t *testing.T, d disk) {
	session, third, whole := prepare(t, d, 2)
	for n := rand.N(stride()); ; n += stride() {
		path := session()
		dead := died(t, d, "save", n, path)
		s, err := partial.Open(t.Context(), path, d.in())
		must(t, err)
		if !dead {
			break
		}
		if len(s.Parts) != 2 {
			t.Fatalf("operation %d of a save: %d parts", n, len(s.Parts))
		}
		must(t, partial.Save(t.Context(), path, third, d.in()))
		must(t, partial.Finalize(t.Context(), path, d.in()))
		wantSame(t, path, whole, d.in())
	}
	session, _, _ = prepare(t, d, 3)
	for n := rand.N(stride()); ; n += stride() {
		path := session()
		dead := died(t, d, "finalize", n, path)
		if is, err := orbax.IsCheckpoint(t.Context(), path, d.in()); is {
			wantSame(t, path, whole, d.in()) // whether or not the session still exists
		} else if err != nil || !dead {
			t.Fatal(err)
		} else if _, err := os.Stat(path); d == plain && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		must(t, partial.Finalize(t.Context(), path, d.in()))
		wantSame(t, path, whole, d.in())
		if _, err := os.Stat(path + ".partial_save"); err == nil {
			t.Errorf("operation %d: the session is there", n)
		}
		if !dead {
			break
		}
	}
}
