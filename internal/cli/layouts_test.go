package cli

import (
	"errors"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/convert"
	"github.com/go-orbax/orbax/internal/inspect"
	"github.com/go-orbax/orbax/tree"
)

// TestLayouts checks that ls and verify know every layout, and that convert makes a
// checkpoint of it with equal arrays and scalars.
func TestLayouts(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(goldens, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d layouts, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, loads, err := golden(file, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			if !loads {
				t.Skip("it cannot be loaded without options")
			}
			if l, err := (inspect.Inspector{}).List(t.Context(), src, ""); err != nil || len(l.Parts) == 0 {
				t.Fatalf("ls: %+v, %v", l, err)
			}
			if v := (inspect.Inspector{}).Verify(t.Context(), src); v.Status != inspect.StatusOK || v.Leaves == 0 && len(v.Unchecked) == 0 {
				t.Fatalf("verify: %v", v)
			}
			dst := filepath.Join(t.TempDir(), "ck")
			o := convert.Options{Flat: strings.HasPrefix(name, "safetensors")}
			if name == "v0_json" {
				o.Name = "config"
			}
			if _, err := convert.Copy(t.Context(), src, dst, o); err != nil {
				t.Fatal(err)
			}
			if v := (inspect.Inspector{}).Verify(t.Context(), dst); v.Status != inspect.StatusOK || !*v.Digests {
				t.Fatalf("verify: %v", v)
			}
			compareParts(t, src, dst)
		})
	}
}

// compareParts compares all pytrees and documents of two checkpoints.
func compareParts(t *testing.T, src, dst string) {
	ck, err := orbax.Open(t.Context(), src)
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	for _, name := range inspect.PartNames(ck, "") {
		want, err := ck.Load(t.Context(), orbax.Name(name))
		if errors.Is(err, orbax.ErrUnsupported) || errors.Is(err, orbax.ErrStructure) {
			continue // its kind needs a target
		}
		if err != nil {
			t.Fatal(err)
		}
		to := name
		if name == "" {
			if l, _ := (inspect.Inspector{}).List(t.Context(), dst, ""); l != nil {
				to = l.Parts[0].Name
			}
		}
		got, err := orbax.Load(t.Context(), dst, orbax.Name(to))
		if err != nil {
			t.Fatal(err)
		}
		g, w := byName(t, got), byName(t, want)
		if !slices.Equal(slices.Sorted(maps.Keys(g)), slices.Sorted(maps.Keys(w))) {
			t.Fatalf("%q: %v, want %v", name, g, w)
		}
		for leaf, v := range w {
			if a, ok := v.(*array.Array); ok {
				if b, ok := g[leaf].(*array.Array); !ok || !a.Equal(b) || a.PRNGImpl() != b.PRNGImpl() {
					t.Errorf("%q: leaf %s: %v, want %v", name, leaf, g[leaf], a)
				}
			} else if !reflect.DeepEqual(g[leaf], v) {
				t.Errorf("%q: leaf %s: %v, want %v", name, leaf, g[leaf], v)
			}
		}
	}
}

func byName(t *testing.T, v any) map[string]any {
	leaves, err := tree.Flatten(v)
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]any{}
	for _, l := range leaves {
		m[l.Path.String()] = l.Value
	}
	return m
}
