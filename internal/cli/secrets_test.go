package cli

import (
	"bytes"
	"context"
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/mem"
)

// TestSecrets runs command lines with URLs that have credentials. No output may have
// them.
func TestSecrets(t *testing.T) {
	t.Chdir(t.TempDir())
	ctx, store := t.Context(), mem.New()
	fill(ctx, t, store)
	storage.Register("vault", func(_ context.Context, u *url.URL) (storage.Store, string, error) {
		if u.User.String() != "KEY:SECRET" || u.RawQuery != "sig=TOP&x=y" {
			t.Errorf("the store is asked for %s", u)
		}
		return store, path.Clean("." + u.Path), nil
	})
	const before, after = "vault://KEY:SECRET@host/", "?sig=TOP&x=y"
	const shownBefore, shownAfter = "vault://xxxxx@host/", "?sig=xxxxx&x=xxxxx"
	for _, c := range []struct {
		args   string // @name@ is the URL of a name
		status int
		want   string // must be somewhere in the output, where @name@ is the URL without secrets
	}{
		{"ls --json @one@", exitOK, `"path": "@one@"`},
		{"ls --json @run@", exitOK, `"path": "@run@"`},
		{"ls @one/state@", exitOK, "total 2 leaves"},
		{"ls @ona@", exitFailed, "hint: did you mean @one@?"},
		{"ls @run/3@", exitFailed, "the newest is @run/2@"},
		{"ls @one/state/a@", exitFailed, "hint: give the checkpoint's path: @one@"},
		{"ls @broken@", exitDamaged, "@broken@: "},
		{"ls @sessions@", exitFailed, "hint: `orbax partial ls '@sessions@'` lists the sessions"},
		{"cat @one@ c", exitFailed, "orbax cat: @one@: "},
		{"cat @two@ b", exitFailed, "orbax cat: @two@: no leaf b"},
		{"cat @run@ a", exitFailed, "hint: the newest is @run/2@"},
		{"verify @one@ @two@", exitOK, "OK  @two@"},
		{"verify --json @one@ @broken@", exitDamaged, `"path": "@broken@"`},
		{"verify @run@", exitOK, "OK  @run@: 2 steps"},
		{"verify @run@", exitOK, "OK  @run/1@"},
		{"verify @broken@", exitDamaged, "DAMAGED  @broken@: corrupt data"},
		{"verify @sessions/ck.partial_save@", exitDamaged, "@sessions/ck.partial_save@: a session of partial saves that is not finalized"},
		{"verify @processes@", exitDamaged, "see `orbax repair '@processes@'`"},
		{"hash @one@", exitOK, "  @one@"},
		{"hash --json @one@", exitOK, `"path": "@one@"`},
		{"hash @one@ @none@", exitFailed, "orbax hash: @none@: "},
		{"diff @one@ @two@", exitDiffer, "only in @two@"},
		{"diff --json @one@ @one@", exitOK, `"a": "@one@"`},
		{"convert @one@ @copies/one@", exitOK, "@copies/one@  2 leaves"},
		{"convert @one@ @copies/one@", exitFailed, "hint: --overwrite replaces it"},
		{"convert @one@ one.safetensors", exitOK, "one.safetensors  2 leaves"},
		{"convert @two@ two.safetensors", exitOK, "warning: other checkpointables are not converted"},
		{"repair @one@", exitOK, "NOTHING TO REPAIR  @one@"},
		{"repair --json @processes@", exitDamaged, `"path": "@processes@"`},
		{"partial ls @sessions@", exitOK, "@sessions/ck@ "},
		{"partial ls @sessions/ck.partial_save@", exitOK, "@sessions/ck@ "},
		{"partial ls --json @sessions@", exitOK, `"path": "@sessions/ck@"`},
		{"partial ls @run@", exitOK, "no sessions in @run@"},
		{"rm @sessions/ck.partial_save@", exitDamaged, "hint: `orbax partial abort '@sessions/ck.partial_save@'` removes it"},
		{"partial finalize @sessions/ck@", exitOK, "@sessions/ck@  2 parts"},
		{"partial finalize @sessions/ck@", exitOK, "@sessions/ck@  was finalized before"},
		{"rm @one/state@", exitFailed, "hint: `orbax rm '@one@' --name state` removes that checkpointable"},
		{"rm @two@", exitOK, ""},
	} {
		var args []string
		for _, arg := range strings.Fields(c.args) {
			args = append(args, expand(arg, before, after))
		}
		want := expand(c.want, shownBefore, shownAfter)
		var out bytes.Buffer
		status := Run(ctx, args, Config{Out: &out, Err: &out})
		if status != c.status || !strings.Contains(out.String(), want) {
			t.Errorf("orbax %s: status %d, %q; want status %d, %q", c.args, status, &out, c.status, want)
		}
		if strings.Contains(out.String(), "SECRET") || strings.Contains(out.String(), "TOP") {
			t.Errorf("orbax %s shows the credentials: %q", c.args, &out)
		}
	}
}

// expand replaces each @name@ in a text by the name between two texts.
func expand(text, before, after string) string {
	parts := strings.Split(text, "@")
	if len(parts)%2 == 0 {
		return text
	}
	for i := 1; i < len(parts); i += 2 {
		parts[i] = before + parts[i] + after
	}
	return strings.Join(parts, "")
}
