package orbax_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/partial"
	"github.com/go-orbax/orbax/training"
)

// customWords are custom metadata with the numbers that JSON has no spelling of, between
// what could be taken for them.
func customWords() map[string]any {
	return map[string]any{
		"best": math.Inf(1), "worst": []any{math.Inf(-1), map[string]any{"loss": math.NaN()}},
		"text": "NaN, -Infinity", "NaN": 1e-7, "n": 3,
	}
}

// wantCustomWords checks what Metadata gives: nothing but a NaN differs from itself, and
// all are printed alike.
func wantCustomWords(t *testing.T, custom any, want any) {
	t.Helper()
	if fmt.Sprintf("%#v", custom) != fmt.Sprintf("%#v", want) {
		t.Errorf("custom metadata are %#v, want %#v", custom, want)
	}
}

// What Metadata gives of custom metadata can be stored again, NaN and the infinities
// too, and its document is the one that Python's json module writes and reads.
func TestCustomMetadataNotFinite(t *testing.T) {
	ctx := t.Context()
	items := map[string]any{"state": map[string]any{"a": 1}, "config": handler.JSON{Value: 2}}
	for name, save := range map[string]func(path string, custom any) error{
		"Save": func(path string, custom any) error {
			return orbax.Save(ctx, path, items["state"], orbax.CustomMetadata(custom))
		},
		"SaveCheckpointables": func(path string, custom any) error {
			return orbax.SaveCheckpointables(ctx, path, items, orbax.CustomMetadata(custom))
		},
		"SaveAsync": func(path string, custom any) error {
			resp, err := orbax.SaveAsync(ctx, path, items["state"], orbax.CustomMetadata(custom))
			if err != nil {
				return err
			}
			return resp.Result(ctx)
		},
		"a part deleted": func(path string, custom any) error {
			if err := orbax.SaveCheckpointables(ctx, path, items, orbax.CustomMetadata(custom)); err != nil {
				return err
			}
			return orbax.Delete(ctx, path, orbax.Name("config"))
		},
		"overwritten": func(path string, custom any) error {
			if err := orbax.Save(ctx, path, items["state"], orbax.CustomMetadata(custom)); err != nil {
				return err
			}
			return orbax.Save(ctx, path, items["state"], orbax.CustomMetadata(custom), orbax.Overwrite())
		},
	} {
		for what, custom := range map[string]any{"object": customWords(), "list": []any{math.NaN(), []any{math.Inf(-1)}}} {
			path := filepath.Join(t.TempDir(), "ckpt")
			if err := save(path, custom); err != nil {
				t.Errorf("%s, %s: %v", name, what, err)
				continue
			}
			m, err := orbax.Metadata(ctx, path)
			must(t, err)
			wantCustomWords(t, m.Custom, custom)
			must(t, orbax.Verify(ctx, path))
			again := filepath.Join(t.TempDir(), "again")
			must(t, orbax.Save(ctx, again, 1, orbax.CustomMetadata(m.Custom)))
			m, err = orbax.Metadata(ctx, again)
			must(t, err)
			wantCustomWords(t, m.Custom, custom)
		}
	}
	path := filepath.Join(t.TempDir(), "ckpt")
	must(t, orbax.Save(ctx, path, 1, orbax.CustomMetadata(customWords())))
	doc, err := os.ReadFile(filepath.Join(path, metadataFile))
	must(t, err)
	want := `"custom_metadata":{"NaN":1e-7,"best":Infinity,"n":3,"text":"NaN, -Infinity","worst":[-Infinity,{"loss":NaN}]}}`
	if !strings.HasSuffix(string(doc), want) {
		t.Errorf("%s\nwant %s", doc, want)
	}
}

// Parts of a session, and whoever merges them, have custom metadata with such numbers.
func TestCustomMetadataNotFiniteInParts(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "ckpt")
	must(t, partial.Save(ctx, path, map[string]any{"a": 1}, orbax.CustomMetadata(map[string]any{"best": 1, "of": map[string]any{"x": math.NaN()}})))
	must(t, partial.Save(ctx, path, map[string]any{"b": 2}, orbax.CustomMetadata(map[string]any{"best": math.Inf(1), "of": map[string]any{"y": math.Inf(-1)}})))
	must(t, partial.Finalize(ctx, path))
	m, err := orbax.Metadata(ctx, path)
	must(t, err)
	wantCustomWords(t, m.Custom, map[string]any{"best": math.Inf(1), "of": map[string]any{"x": math.NaN(), "y": math.Inf(-1)}})
	must(t, orbax.Verify(ctx, path))
}

// The metadata of a run and of its steps take them as well.
func TestCustomMetadataNotFiniteInRuns(t *testing.T) {
	ctx := t.Context()
	root := filepath.Join(t.TempDir(), "run")
	for range 2 { // the second reads what the first has written
		c, err := training.New(ctx, root, training.Options{CustomMetadata: customWords()})
		must(t, err)
		m, err := c.RootMetadata(ctx)
		must(t, err)
		wantCustomWords(t, m.Custom, customWords())
		n, _ := c.Latest()
		step := n.Step + 1
		if saved, err := c.Save(ctx, step, map[string]any{"a": step}, orbax.CustomMetadata(customWords())); err != nil || !saved {
			t.Fatal(saved, err)
		}
		of, err := orbax.Metadata(ctx, c.Path(step))
		must(t, err)
		wantCustomWords(t, of.Custom, customWords())
		must(t, c.Close())
	}
	doc, err := os.ReadFile(filepath.Join(root, "metadata", "_ROOT_METADATA"))
	must(t, err)
	if want := `{"internal_metadata":{},"custom_metadata":{"NaN":1e-7,"best":Infinity,`; !strings.HasPrefix(string(doc), want) {
		t.Errorf("%s\nwant %s", doc, want)
	}
}

// changing is a value whose JSON is never twice the same.
type changing struct{ n *int }

func (c changing) MarshalJSON() ([]byte, error) {
	*c.n++
	return []byte(strconv.Itoa(*c.n)), nil
}

// What cannot be told from the numbers that stand for NaN while it is encoded is refused.
func TestCustomMetadataThatChanges(t *testing.T) {
	at := changing{new(int)}
	path := t.TempDir() + "/ck"
	if err := orbax.Save(t.Context(), path, 1, orbax.CustomMetadata(map[string]any{"at": at})); err != nil {
		t.Error(err)
	}
	both := map[string]any{"at": at, "best": math.NaN()}
	if err := orbax.Save(t.Context(), path, 1, orbax.Overwrite(), orbax.CustomMetadata(both)); !errors.Is(err, orbax.ErrLeafType) {
		t.Errorf("beside NaN: %v", err)
	}
	c, err := training.New(t.Context(), t.TempDir(), training.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Save(t.Context(), 0, 1, orbax.Metrics(both)); !errors.Is(err, orbax.ErrLeafType) {
		t.Errorf("metrics: %v", err)
	}
}

// No number that a program spells is taken for one that stands for NaN.
func TestCustomMetadataOddZero(t *testing.T) {
	path := t.TempDir() + "/ck"
	odd := map[string]any{"a": json.RawMessage("0e-7370001"), "b": json.Number("-0e-7370001"), "c": math.NaN()}
	if err := orbax.Save(t.Context(), path, 1, orbax.CustomMetadata(odd)); err != nil {
		t.Fatal(err)
	}
	m, err := orbax.Metadata(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	got := m.Custom.(map[string]any)
	if b, ok := got["b"].(float64); got["a"] != 0.0 || !ok || b != 0 || !math.Signbit(b) || !math.IsNaN(got["c"].(float64)) {
		t.Errorf("got %v, want a=0 b=-0 c=NaN", got)
	}
}
