package orbax_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/testenv"
)

// counterIterator is a stateful checkpointable without files.
type counterIterator struct{}

func (*counterIterator) SaveState(context.Context) (handler.WriteFunc, error) {
	return func(context.Context, *handler.WriteDir) error { return nil }, nil
}

func (*counterIterator) LoadState(context.Context, *handler.ReadDir) error { return nil }

// manyFiles is a checkpointable that takes its time to be removed.
type manyFiles int

func (n *manyFiles) SaveState(context.Context) (handler.WriteFunc, error) {
	return func(ctx context.Context, dir *handler.WriteDir) error {
		for i := range int(*n) {
			if err := dir.WriteFile(ctx, fmt.Sprintf("%d/%d", i%10, i), []byte("x")); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

func (n *manyFiles) LoadState(ctx context.Context, dir *handler.ReadDir) error {
	for i := range int(*n) {
		if b, err := dir.ReadFile(ctx, fmt.Sprintf("%d/%d", i%10, i)); err != nil || string(b) != "x" {
			return fmt.Errorf("file %d: %q, %w", i, b, err)
		}
	}
	return nil
}

func saveMany(t *testing.T, path string) {
	t.Helper()
	n := manyFiles(100)
	must(t, orbax.SaveCheckpointables(t.Context(), path, map[string]any{"state": crashState(1), "many": &n}, orbax.Overwrite()))
}

func loadMany(path string) error {
	n := manyFiles(100)
	_, err := orbax.LoadCheckpointables(context.Background(), path, map[string]any{"many": &n})
	return err
}

func init() {
	for mode, options := range map[string][]orbax.DeleteOption{"delete": nil, "delete many": {orbax.Name("many")}} {
		children[mode] = func(path string) error {
			fmt.Println("saved", 0)
			if err := orbax.Delete(context.Background(), path, options...); err != nil {
				return err
			}
			fmt.Println("saved", 1)
			time.Sleep(time.Hour)
			return nil
		}
	}
}

// A process that is killed while it deletes a checkpoint leaves all of it or none.
func TestKillDelete(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "ck")
	for range crashes() {
		saveMany(t, path)
		c := startChild(t, "delete", path)
		<-c.started
		time.Sleep(rand.N(5 * time.Millisecond))
		c.kill(t)
		version, err := crashVersion(path)
		if err != nil || version == 1 && c.saved.Load() == 1 {
			t.Errorf("version %d, %v", version, err)
		}
		if version == 1 {
			must(t, loadMany(path))
			must(t, orbax.Verify(t.Context(), path))
		}
		must(t, orbax.Delete(t.Context(), path, orbax.MissingOK()))
		onlyTemporary(t, dir)
		for _, name := range unfinished(t, dir) { // and they are dead
			must(t, orbax.Delete(t.Context(), filepath.Join(dir, name)))
		}
	}
}

// A process that is killed while it deletes a checkpointable harms no other.
func TestKillDeletePart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ck")
	pending := 0
	for range crashes() {
		saveMany(t, path)
		c := startChild(t, "delete many", path)
		<-c.started
		time.Sleep(rand.N(5 * time.Millisecond))
		c.kill(t)
		wantVersion(t, path, 1)
		must(t, orbax.Verify(t.Context(), path))
		meta, err := orbax.Metadata(t.Context(), path)
		must(t, err)
		if meta.Deleting != "" {
			pending++
		}
		if err := loadMany(path); err != nil && !errors.Is(err, orbax.ErrNotExist) {
			t.Error(err)
		}
		must(t, orbax.Delete(t.Context(), path, orbax.Name("many"), orbax.MissingOK()))
		wantVersion(t, path, 1)
		must(t, orbax.Verify(t.Context(), path))
		ck, err := orbax.Open(t.Context(), path)
		must(t, err)
		if names := ck.Names(); !slices.Equal(names, []string{"state"}) {
			t.Errorf("left %q", names)
		}
	}
	t.Logf("%d of %d deletions were stopped half way", pending, crashes())
}

// Whoever reads what is being deleted gets all of it, or ErrNotExist or ErrBusy.
func TestLoadWhileDeleting(t *testing.T) {
	for name, options := range map[string][]orbax.DeleteOption{"whole": nil, "part": {orbax.Name("many")}} {
		for _, foreign := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " ", foreign), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "ck")
				outcomes := map[string]int{}
				for range testenv.Pick(5, 2) {
					saveMany(t, path)
					if foreign {
						strip(t, path, "digests.sha256")
					}
					done := make(chan error)
					go func() {
						time.Sleep(rand.N(10 * time.Millisecond))
						done <- orbax.Delete(context.Background(), path, options...)
					}()
					for deleted := false; !deleted; {
						select {
						case err := <-done:
							must(t, err)
							deleted = true
						default:
						}
						err := loadMany(path)
						outcomes[outcome(err)]++
						if err != nil && !errors.Is(err, orbax.ErrNotExist) && !errors.Is(err, orbax.ErrBusy) {
							t.Fatal(err)
						}
						if options != nil {
							wantVersion(t, path, 1)
						}
					}
				}
				t.Log(outcomes)
			})
		}
	}
}

func outcome(err error) string {
	switch {
	case err == nil:
		return "loaded"
	case strings.Contains(err.Error(), "has begun"):
		return "being deleted"
	case errors.Is(err, orbax.ErrNotExist):
		return "gone"
	}
	return "busy"
}
