package layouts

import (
	"path/filepath"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/tree"
)

// With support_rich_types Orbax tells tuples from lists, and so does a load.
func TestRichTypes(t *testing.T) {
	path := filepath.Join(unpack(t, filepath.Join("testdata", "layouts", "v1_rich.zip")), "ckpt")
	v, err := orbax.Load(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	root := v.(map[string]any)
	nested, ok := root["nested"].(tree.Tuple)
	if !ok {
		t.Fatalf("nested is a %T", root["nested"])
	}
	if _, ok := nested[0].([]any); !ok {
		t.Errorf("nested.0 is a %T", nested[0])
	}
	if _, ok := nested[1].(tree.Tuple); !ok {
		t.Errorf("nested.1 is a %T", nested[1])
	}
	moments := root["train"].(map[string]any)["opt"].(tree.Tuple)[0].(map[string]any)
	if _, ok := moments["nu"].(tree.Tuple); !ok {
		t.Errorf("train.opt.0.nu is a %T", moments["nu"])
	}
}
