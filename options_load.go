package orbax

import (
	"context"
	"fmt"
	"strings"

	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/config"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

// loadOption is an option for every load; it affects the pytrees that are loaded.
type loadOption func(*config.Load)

func (o loadOption) ApplyLoad(c *config.Load) { o(c) }
func (o loadOption) ForCheckpointables()      {}

// Cast lets a load convert arrays and numbers to the dtypes of its target. It rounds to
// the nearest value, ties to even. A number outside the range of the target's dtype
// changes without an error. In a float, a number that is too large becomes infinity, NaN
// or the largest value, as the format has it, and one that is too small becomes 0. In an
// integer, a number out of range becomes the nearest one in range, where Orbax wraps
// around, and NaN becomes 0; see [array.Convert].
//
// Without Cast a dtype that differs is an error. A call without a target refuses Cast,
// [PadOrTruncate] and [Partial].
func Cast() LoadCheckpointablesOption {
	return loadOption(func(c *config.Load) { c.Handler.Cast = true })
}

// PadOrTruncate lets a load fill arrays whose shapes differ from the stored ones, with
// the same rank. Along each axis, an array that is too long is cut at its end, and one
// that is too short is followed by zeros. Without PadOrTruncate a shape that differs is
// an error.
func PadOrTruncate() LoadCheckpointablesOption {
	return loadOption(func(c *config.Load) { c.Handler.PadOrTruncate = true })
}

// Partial lets the target of a load lack keys of the checkpoint: only the keys of the
// target are loaded. A key that the checkpoint lacks is still an error. To leave out
// single leaves, put a [tree.Placeholder] in their place.
func Partial() LoadCheckpointablesOption {
	return loadOption(func(c *config.Load) { c.Handler.Partial = true })
}

// FillMissing makes a load fill missing chunks with the array's fill value, as zarr does.
// Without it a missing chunk is damage in a checkpoint of Orbax, because v1 writes every
// chunk; old versions left out only chunks of zeros.
//
// Writers of zarr leave out chunks of the fill value. In a store of zarr arrays missing
// chunks are therefore filled without FillMissing too, unless many more are missing than
// stored. With FillMissing a few bytes can stand for an array of any size: look at the
// [Metadata] of a checkpoint first if you do not trust it.
func FillMissing() FillOption { return fillOption{} }

type fillOption struct{}

func (fillOption) ApplyLoad(c *config.Load)    { c.Handler.Fill = true }
func (fillOption) ForCheckpointables()         {}
func (fillOption) applyVerify(c *verifyConfig) { c.handler.Fill = true }

// checkTarget refuses options for filling a target if there is no target.
func (c *loadConfig) checkTarget(target any) error {
	o := &c.Handler.BindOptions
	if target != nil || !o.Cast && !o.PadOrTruncate && !o.Partial {
		return nil
	}
	return fmt.Errorf("%w: Cast, PadOrTruncate and Partial say how a target is filled, and there is none; use LoadInto or LoadAbstract, or Select for a part",
		fault.ErrUsage)
}

// checkViews refuses options that change the tree if h is not a handler of pytrees.
func (c *loadConfig) checkViews(h handler.Handler) error {
	if _, ok := h.(handler.TreeHandler); ok || len(c.Handler.Views) == 0 {
		return nil
	}
	return fmt.Errorf("%w: only a part of a pytree can be loaded, and this is saved by %s", fault.ErrUsage, h.Type())
}

// viewOption changes the tree that is loaded.
type viewOption func(context.Context, *view.Tree) (*view.Tree, error)

func (o viewOption) ApplyLoad(c *config.Load) { c.Handler.Views = append(c.Handler.Views, o) }

// Select loads the leaves that match one of the patterns, such as "params.**"; see
// [tree.ParsePattern]. A pattern that matches no leaf is an error that matches
// [ErrStructure]. A sequence that loses elements other than its last ones is loaded as a
// dict with positions as keys.
func Select(patterns ...string) LoadOption {
	return viewOption(func(_ context.Context, t *view.Tree) (*view.Tree, error) {
		if len(patterns) == 0 {
			return nil, fmt.Errorf("%w: Select without a pattern", fault.ErrStructure)
		}
		parsed, err := tree.ParsePatterns(patterns...)
		if err != nil {
			return nil, err
		}
		used := make([]bool, len(patterns))
		selected := t.Select(func(m *view.LeafMetadata) bool { return parsed.Match(m.Path, used) })
		var unused []string
		for i, s := range patterns {
			if !used[i] {
				unused = append(unused, fmt.Sprintf("%q", s))
			}
		}
		if len(unused) > 0 {
			return nil, fmt.Errorf("%w: no leaf matches %s", fault.ErrNoMatch, strings.Join(unused, ", "))
		}
		return selected, nil
	})
}

// SelectFunc loads the leaves for which keep returns true; see [Select]. If there are
// none, the error matches [ErrStructure].
func SelectFunc(keep func(*view.LeafMetadata) bool) LoadOption {
	return viewOption(func(_ context.Context, t *view.Tree) (*view.Tree, error) {
		selected := t.Select(keep)
		if selected.Len() == 0 {
			return nil, fmt.Errorf("%w: no leaf is selected", fault.ErrStructure)
		}
		return selected, nil
	})
}
