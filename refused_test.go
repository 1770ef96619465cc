package orbax_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/view"
)

// What closes the checkpoint refuses Mapped, and what is no load all options for
// loads.
func TestMappedRefused(t *testing.T) {
	path, _ := saveMappable(t)
	ck, err := orbax.Open(t.Context(), path)
	must(t, err)
	defer ck.Close()
	type calls map[string]func(context.Context, orbax.LoadCheckpointablesOption) error
	loads := calls{
		"Load": func(ctx context.Context, o orbax.LoadCheckpointablesOption) error {
			return errorOf(orbax.Load(ctx, path, o))
		},
		"LoadInto": func(ctx context.Context, o orbax.LoadCheckpointablesOption) error {
			return orbax.LoadInto(ctx, path, &map[string]any{}, o)
		},
		"LoadAs": func(ctx context.Context, o orbax.LoadCheckpointablesOption) error {
			return errorOf(orbax.LoadAs[map[string]any](ctx, path, o))
		},
		"LoadAbstract": func(ctx context.Context, o orbax.LoadCheckpointablesOption) error {
			return errorOf(orbax.LoadAbstract(ctx, path, map[string]any{}, o))
		},
		"LoadCheckpointables": func(ctx context.Context, o orbax.LoadCheckpointablesOption) error {
			return errorOf(orbax.LoadCheckpointables(ctx, path, nil, o))
		},
	}
	others := calls{
		"Metadata": func(ctx context.Context, o orbax.LoadCheckpointablesOption) error {
			return errorOf(orbax.Metadata(ctx, path, o))
		},
		"CheckpointablesMetadata": func(ctx context.Context, o orbax.LoadCheckpointablesOption) error {
			return errorOf(ck.CheckpointablesMetadata(ctx, o))
		},
		"Hash": func(ctx context.Context, o orbax.LoadCheckpointablesOption) error {
			return errorOf(ck.Hash(ctx, o))
		},
		"Tree": func(ctx context.Context, o orbax.LoadCheckpointablesOption) error {
			return errorOf(ck.Tree(ctx, o))
		},
		"Diff": func(ctx context.Context, o orbax.LoadCheckpointablesOption) error {
			return errorOf(ck.Diff(ctx, ck, view.DiffOptions{}, o))
		},
	}
	var s orbax.Stats
	for _, c := range []struct {
		name    string
		option  orbax.LoadCheckpointablesOption
		refused []calls
	}{
		{"Mapped", orbax.Mapped(), []calls{loads, others}},
		{"Mapped", orbax.MappedUnverified(), []calls{loads, others}},
		{"Report", orbax.Report(&s), []calls{others}},
		{"Progress", orbax.Progress(func(orbax.Stats) { t.Error("progress of what is refused") }), []calls{others}},
	} {
		for _, calls := range c.refused {
			for what, call := range calls {
				err := call(t.Context(), c.option)
				if !errors.Is(err, orbax.ErrUsage) || !strings.Contains(err.Error(), c.name) {
					t.Errorf("%s: %s: %v", what, c.name, err)
				}
			}
		}
	}
	if s != (orbax.Stats{}) {
		t.Errorf("a report of what is refused: %+v", s)
	}
}

// A load that is refused is reported like others.
func TestReportOfRefused(t *testing.T) {
	ctx := t.Context()
	path, _ := saveMappable(t)
	ck, err := orbax.Open(ctx, path)
	must(t, err)
	defer ck.Close()
	for what, load := range map[string]func(report orbax.CommonOption) error{
		"Load without a target to cast to": func(report orbax.CommonOption) error {
			return errorOf(ck.Load(ctx, orbax.Cast(), report))
		},
		"Load of what Close unmaps": func(report orbax.CommonOption) error {
			return errorOf(orbax.Load(ctx, path, orbax.Mapped(), report))
		},
		"LoadCheckpointables without a target to cast to": func(report orbax.CommonOption) error {
			return errorOf(ck.LoadCheckpointables(ctx, nil, orbax.Cast(), report))
		},
		"LoadCheckpointables of what there is not": func(report orbax.CommonOption) error {
			return errorOf(ck.LoadCheckpointables(ctx, map[string]any{"missing": nil}, report))
		},
	} {
		var s orbax.Stats
		if err := load(orbax.Report(&s)); err == nil || s.Op != "load" || s.Phase != orbax.PhaseDone || s.Arrays != 0 {
			t.Errorf("%s: got %v, %#v; want an error, and a load that is done with no array", what, err, s)
		}
	}
}
