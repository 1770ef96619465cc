package interop

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
)

// denseLayers are the parameters of testdata/train.py's model, as Flax nests
// them.
type denseLayers struct {
	Params map[string]struct {
		Kernel *array.Array `orbax:"kernel"`
		Bias   *array.Array `orbax:"bias"`
	} `orbax:"params"`
}

// adamW is the state of optax.adamw: a tuple of what its three steps keep, of
// which only the first keeps something.
type adamW struct {
	_    struct{} `orbax:",seq"`
	Adam struct {
		Count *array.Array `orbax:"count"`
		Mu    denseLayers  `orbax:"mu"`
		Nu    denseLayers  `orbax:"nu"`
	}
	WeightDecay  struct{}
	LearningRate struct{}
}

type trainState struct {
	Params   denseLayers `orbax:"params"`
	OptState adamW       `orbax:"opt_state"`
	Step     int         `orbax:"step"`
}

type trainAnswer struct {
	Losses []string // bits
	Step   int
	Tree   *node
}

// TestResume trains in Python and hands the state through Go in the middle:
// nothing may come out differently than without the stop.
func TestResume(t *testing.T) {
	needPython(t)
	dir := t.TempDir()
	var whole, first trainAnswer
	mustCall(t, "train", request{"steps": 20, "tree": true}, &whole)
	python := filepath.Join(dir, "python")
	mustCall(t, "train", request{"steps": 10, "save": python}, &first)

	byStruct := filepath.Join(dir, "struct")
	state, err := orbax.LoadAs[trainState](t.Context(), python)
	if err != nil {
		t.Fatal(err)
	}
	if state.Step != 10 || state.OptState.Adam.Count.FormatElement(0) != "10" || len(state.Params.Params) != 2 {
		t.Errorf("Go has step %d, count %s, %d layers", state.Step, state.OptState.Adam.Count.FormatElement(0), len(state.Params.Params))
	}
	if err := orbax.Save(t.Context(), byStruct, state); err != nil {
		t.Fatal(err)
	}
	byMap := filepath.Join(dir, "map")
	loaded, err := orbax.Load(t.Context(), python)
	if err != nil {
		t.Fatal(err)
	}
	if err := orbax.Save(t.Context(), byMap, loaded); err != nil {
		t.Fatal(err)
	}

	for _, path := range []string{python, byStruct, byMap} {
		for _, abstract := range []string{"fresh", "eval_shape"} {
			t.Run(fmt.Sprintf("%s,%s", filepath.Base(path), abstract), func(t *testing.T) {
				var second trainAnswer
				mustCall(t, "train", request{"steps": 10, "from": path, "abstract": abstract, "tree": true}, &second)
				if losses := slices.Concat(first.Losses, second.Losses); !slices.Equal(losses, whole.Losses) {
					t.Errorf("losses are\n%v, without the stop\n%v", losses, whole.Losses)
				}
				mustEqual(t, "the final state", whole.Tree, second.Tree)
			})
		}
	}
}
