package training_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/orbaxtest"
	"github.com/go-orbax/orbax/partial"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/mem"
	"github.com/go-orbax/orbax/training"
)

// TestURL runs at a URL whose user and query are credentials. Steps are below the path of
// the URL, and no message has a credential.
func TestURL(t *testing.T) {
	ctx, store := t.Context(), mem.New()
	storage.Register("trainingurl", func(_ context.Context, u *url.URL) (storage.Store, string, error) {
		if secret, _ := u.User.Password(); secret != "SECRET" || u.Query().Get("sig") != "SECRET" {
			t.Errorf("opened %s", u)
		}
		return store, strings.Trim(u.Path, "/"), nil
	})
	const root = "trainingurl://KEY:SECRET@bucket/run?region=eu&sig=SECRET"
	var log bytes.Buffer
	options := training.Options{
		Preservation: training.LatestN{N: 2}, SaveDecision: training.FixedIntervalPolicy{Interval: 1},
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	c, err := training.New(ctx, root, options)
	orbaxtest.Must(t, err)
	mustSave(t, c, 0, 1, 2)
	orbaxtest.Must(t, c.Wait(ctx))
	if got := listed(c); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("the steps are %v", got)
	}
	if _, err := c.Save(ctx, 1, stateOf(1)); err == nil || strings.Contains(err.Error(), "SECRET") {
		t.Errorf("an older step: %v", err)
	}
	path := c.Path(2)
	orbaxtest.Must(t, c.Close())
	orbaxtest.Must(t, orbax.Verify(ctx, path))
	if err := orbax.Save(ctx, path, map[string]int{"a": 1}); err == nil || strings.Contains(err.Error(), "SECRET") {
		t.Errorf("saved over a step: %v", err)
	}
	c, err = training.New(ctx, root, options)
	orbaxtest.Must(t, err)
	defer c.Close()
	var s runState
	if step, err := c.Resume(ctx, &s); step != 2 || err != nil {
		t.Errorf("resumed %d, %v", step, err)
	}
	if err := c.LoadInto(ctx, 7, &s); err == nil || strings.Contains(err.Error(), "SECRET") {
		t.Errorf("a missing step: %v", err)
	}
	if text := log.String(); strings.Contains(text, "SECRET") || !strings.Contains(text, "run/2?region=xxxxx") {
		t.Errorf("the log is %s", text)
	}

	const dir = "trainingurl://KEY:SECRET@bucket/parts"
	const query = "?sig=SECRET"
	orbaxtest.Must(t, partial.Save(ctx, dir+"/ck.partial_save"+query, map[string]int{"a": 1}))
	sessions, err := partial.Sessions(ctx, dir+query)
	if err != nil || len(sessions) != 1 || sessions[0].Path != dir+"/ck"+query {
		t.Fatalf("the sessions are %v, %v", sessions, err)
	}
	orbaxtest.Must(t, partial.Finalize(ctx, sessions[0].Path))
	if is, err := orbax.IsCheckpoint(ctx, dir+"/ck"+query); !is || err != nil {
		t.Errorf("finalized: %v, %v", is, err)
	}
}

// TestStoreOfTheDisk gives a run the store of the disk, in which a relative name does not
// follow a change of the working directory.
func TestStoreOfTheDisk(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	c, err := training.New(t.Context(), "run", training.Options{Store: storage.Local()})
	orbaxtest.Must(t, err)
	defer c.Close()
	mustSave(t, c, 0)
	t.Chdir(t.TempDir())
	mustSave(t, c, 1)
	if got := orbaxtest.Names(t, dir+"/run"); !slices.Equal(got, []string{"0", "1"}) {
		t.Errorf("the run has %q", got)
	}
	if got, err := os.ReadDir("."); err != nil || len(got) > 0 {
		t.Errorf("the other directory has %v, %v", got, err)
	}
}
