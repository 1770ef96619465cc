package partial_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/partial"
)

// The path of a checkpoint, or of its session, may be spelled in any way.
func TestNames(t *testing.T) {
	t.Chdir(t.TempDir())
	ctx := t.Context()
	must(t, os.Mkdir("real", 0o777))
	must(t, os.Symlink("real", "link"))
	for _, name := range []string{"ck", "100 %d%s", "ä.b.c", "a\nb", ".hidden", "x.partial_save.pending_1_ab", "deep/er/ck", "link/ck"} {
		for _, spelled := range []string{name, "./" + name + "/", name + ".partial_save", name + ".partial_save//"} {
			must(t, partial.Save(ctx, spelled, map[string]any{"x": 1}))
			must(t, partial.Save(ctx, name, map[string]any{"y": 2}))
			if s, err := partial.Open(ctx, spelled); err != nil || len(s.Parts) != 2 || len(s.Parts[1].Keys) != 1 {
				t.Fatalf("%q: %+v, %v", spelled, s, err)
			}
			if s, err := partial.Sessions(ctx, filepath.Dir(name)); err != nil || len(s) != 1 || filepath.Clean(s[0].Path) != name {
				t.Fatalf("%q: %+v, %v", spelled, s, err)
			}
			must(t, partial.Finalize(ctx, spelled))
			wantSame(t, name, map[string]any{"x": 1, "y": 2})
			must(t, partial.Finalize(ctx, spelled))
			must(t, orbax.Delete(ctx, name))
		}
	}
	for _, name := range []string{".partial_save", "real/.partial_save", "/", "/.partial_save"} {
		if err := partial.Save(ctx, name, map[string]any{"x": 1}); !errors.Is(err, orbax.ErrReservedName) {
			t.Errorf("%q: %v", name, err)
		}
	}
	must(t, os.Mkdir(filepath.Join("real", ".partial_save"), 0o777)) // this is not a session
	if s, err := partial.Sessions(ctx, "real"); err != nil || len(s) > 0 {
		t.Errorf("%+v, %v", s, err)
	}
}

// A session is not a checkpoint, even if it looks like one because Orbax was interrupted
// while it merged the session.
func TestSessionIsNoCheckpoint(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "ck")
	session := path + ".partial_save"
	must(t, partial.Save(ctx, path, map[string]any{"x": 1}))
	if err := orbax.Verify(ctx, path); !errors.Is(err, orbax.ErrNotExist) || !strings.Contains(err.Error(), "session") {
		t.Errorf("beside a session: %v", err)
	}
	must(t, os.CopyFS(session, os.DirFS(filepath.Join(session, names(t, session)[0]))))
	before := names(t, session)
	for name, c := range map[string]struct{ err, want error }{
		"Verify":      {orbax.Verify(ctx, session), orbax.ErrIncomplete},
		"Delete":      {orbax.Delete(ctx, session), orbax.ErrIncomplete},
		"Delete part": {orbax.Delete(ctx, session, orbax.Name("state")), orbax.ErrIncomplete},
		"Save":        {orbax.Save(ctx, session, map[string]any{"x": 1}), orbax.ErrReservedName},
		"overwrite":   {orbax.Save(ctx, session, map[string]any{"x": 1}, orbax.Overwrite()), orbax.ErrReservedName},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", name, c.err, c.want)
		}
	}
	if after := names(t, session); !slices.Equal(after, before) {
		t.Errorf("left %q of %q", after, before)
	}
}

// If the checkpoint of a session is damaged, the session is kept.
func TestDamagedCheckpoint(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "ck")
	must(t, partial.Save(ctx, path, map[string]any{"x": 1}))
	must(t, os.CopyFS(path+".copy", os.DirFS(path+".partial_save")))
	must(t, partial.Finalize(ctx, path))
	must(t, os.Rename(path+".copy", path+".partial_save")) // as if it had not been removed
	lost := filepath.Join(path, "state", "_METADATA")
	b, err := os.ReadFile(lost)
	must(t, err)
	must(t, os.Remove(lost))
	if err := partial.Finalize(ctx, path); !errors.Is(err, orbax.ErrCorrupt) {
		t.Errorf("%v", err)
	}
	if s, err := partial.Open(ctx, path); err != nil || len(s.Parts) != 1 {
		t.Errorf("the session has %+v, %v", s, err)
	}
	must(t, os.WriteFile(lost, b, 0o666))
	must(t, partial.Finalize(ctx, path))
	if _, err := partial.Open(ctx, path); !errors.Is(err, orbax.ErrNotExist) {
		t.Error(err)
	}
}
