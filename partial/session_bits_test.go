package partial_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/partial"
)

// A flipped bit, or a file that is cut or missing, is found in every file of a session.
// Finalize reports it and leaves the session. Finalize does not read array data; damage
// there is reported by Verify of the checkpoint.
func TestSessionEveryBit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	model := filepath.Join(dir, "ck")
	must(t, partial.Save(t.Context(), model, map[string]any{"a": []int32{1, 2, 3}, "s": "one"}, orbax.CustomMetadata(map[string]any{"x": 1})))
	must(t, partial.Save(t.Context(), model, map[string]any{"long": large(1)[:300]}))
	var names []string
	must(t, filepath.WalkDir(model+".partial_save", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, name[len(model):])
		}
		return err
	}))
	step := 211 * stride()
	if testenv.EveryBit() {
		step = 1
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "ck")
			must(t, os.CopyFS(path+".partial_save", os.DirFS(model+".partial_save")))
			good, err := os.ReadFile(path + name)
			must(t, err)
			check := func(what string, data []byte) {
				t.Helper()
				if data == nil {
					must(t, os.Remove(path+name))
				} else {
					must(t, os.WriteFile(path+name, data, 0o666))
				}
				err := partial.Finalize(t.Context(), path)
				if err == nil {
					err = orbax.Verify(t.Context(), path)
					must(t, os.RemoveAll(path))
					must(t, os.CopyFS(path+".partial_save", os.DirFS(model+".partial_save")))
				} else if _, serr := os.Stat(path); serr == nil {
					t.Fatalf("%s: %v, and there is a checkpoint", what, err)
				} else {
					must(t, os.WriteFile(path+name, good, 0o666))
				}
				if !errors.Is(err, orbax.ErrCorrupt) {
					t.Errorf("%s: %v", what, err)
				}
			}
			for bit := len(name) % min(7, step); bit < 8*len(good); bit += step {
				b := bytes.Clone(good)
				b[bit/8] ^= 1 << (bit % 8)
				check(fmt.Sprintf("bit %d of byte %d", bit%8, bit/8), b)
			}
			if len(good) > 0 {
				check("an end", good[:len(good)-1])
			}
			if !isDigestFile(name) { // a part of Orbax has no digests
				check("removal", nil)
			}
			must(t, partial.Finalize(t.Context(), path))
			must(t, orbax.Verify(t.Context(), path))
		})
	}
}

func isDigestFile(name string) bool {
	ok, _ := filepath.Match("digests.*.sha256", filepath.Base(name))
	return ok
}
