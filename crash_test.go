package orbax_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/testenv"
)

// crashes is how many processes a test kills.
func crashes() int { return testenv.Pick(200, 6) }

// A process that is killed while it overwrites leaves the old checkpoint or the
// new one, and is in nobody's way.
func TestKillOverwrite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "ck")
	for range crashes() {
		if err := orbax.Save(t.Context(), path, crashState(1), orbax.Overwrite()); err != nil {
			t.Fatal(err) // ErrBusy, for example
		}
		c := startChild(t, "overwrite", path)
		<-c.started
		time.Sleep(rand.N(30 * time.Millisecond))
		c.kill(t)
		version, err := crashVersion(path)
		if saved := int(c.saved.Load()); err != nil || version < saved || version > saved+1 {
			t.Errorf("version %d after the save of %d returned; %v", version, saved, err)
		}
		onlyTemporary(t, dir, "ck")
	}
}

// A process that is killed while it saves leaves whole checkpoints only.
func TestKillSave(t *testing.T) {
	killSaves(t, "fresh", func(path string, version int) {
		switch found, err := crashVersion(path); {
		case err != nil:
			t.Error(err)
		case found == 0:
			if err := orbax.Save(t.Context(), path, crashState(version)); err != nil {
				t.Error(err)
			}
		}
	})
}

// killSaves kills processes that save one checkpoint after the other in a way that
// startChild knows. What they have reported must be whole. The one after these may be
// complete too, be unfinished or not be there: complete looks at it, and saves it anew if
// it is not complete.
func killSaves(t *testing.T, way string, complete func(path string, version int)) {
	t.Parallel()
	for range crashes() {
		dir := t.TempDir()
		c := startChild(t, way, filepath.Join(dir, "ck"))
		<-c.started
		time.Sleep(rand.N(30 * time.Millisecond))
		c.kill(t)
		var whole []string
		for v := 1; v <= int(c.saved.Load())+1; v++ {
			whole = append(whole, fmt.Sprintf("ck-%d", v))
			path := filepath.Join(dir, whole[v-1])
			if v > int(c.saved.Load()) {
				complete(path, v)
			}
			wantVersion(t, path, v)
		}
		onlyTemporary(t, dir, whole...)
		os.RemoveAll(dir)
	}
}

// A path is busy while another process writes it, and free once that is dead.
func TestBusyProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "ck")
	c := startChild(t, "hold", path)
	<-c.started
	for range 2 {
		if err := orbax.Save(t.Context(), path, crashState(1)); !errors.Is(err, orbax.ErrBusy) {
			t.Errorf("while the child saves: %v", err)
		}
	}
	if left := unfinished(t, dir); len(left) != 1 {
		t.Errorf("temporary directories %q, want the child's", left)
	}
	c.kill(t)
	if err := orbax.Save(t.Context(), path, crashState(2)); err != nil {
		t.Errorf("after its death: %v", err)
	}
	wantVersion(t, path, 2)
}

// A program that ends without waiting for its save ends at once, and leaves a
// temporary directory.
func TestExitWithoutWaiting(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "ck")
	c := startChild(t, "exit", path)
	select {
	case <-c.ended:
	case <-time.After(30 * time.Second):
		t.Fatal("it hangs")
	}
	if code := c.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if left := unfinished(t, dir); len(left) != 1 {
		t.Errorf("temporary directories %q", left)
	}
	wantVersion(t, path, 0)
	if err := orbax.Save(t.Context(), path, crashState(1)); err != nil {
		t.Error(err)
	}
	wantVersion(t, path, 1)
}
