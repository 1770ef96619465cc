package save

import (
	"context"
	"fmt"

	"github.com/go-orbax/orbax/internal/compare"
	"github.com/go-orbax/orbax/internal/fault"
)

// lines yields the lines of this process.
func (t *together) lines(yield func(compare.Line) bool) {
	if !yield(compare.Line{Text: t.options}) {
		return
	}
	for _, item := range t.items {
		if !yield(compare.Line{Item: item.Name, Text: item.Handler.Type()}) {
			return
		}
		if item.plan.Lines == nil {
			continue
		}
		for path, text := range item.plan.Lines {
			if !yield(compare.Line{Item: item.Name, Path: path, Text: text}) {
				return
			}
		}
	}
}

// compare fails if the processes do not have the same lines, with an error that shows both
// sides of the first differences.
func (t *together) compare(ctx context.Context) error {
	choices, err := t.sample(ctx)
	choices, err = compare.Lines(ctx, t.op, t.group.Rank(), planPhase, "save", t.lines, choices, err)
	if err != nil {
		return err
	}
	return t.choose(choices)
}

// sample returns what this process chooses for all, for each pytree.
func (t *together) sample(ctx context.Context) (choices [][]byte, err error) {
	for _, item := range t.items {
		if item.plan.Sample == nil {
			continue
		}
		some, err := item.plan.Sample(ctx)
		if err != nil {
			return nil, fault.InItem(item.Name, err)
		}
		choices = append(choices, some)
	}
	return choices, nil
}

// choose sets what all processes have chosen.
func (t *together) choose(choices [][]byte) error {
	for _, item := range t.items {
		if item.plan.Choose == nil {
			continue
		}
		if len(choices) == 0 {
			return fmt.Errorf("%w: the choices of another process are missing", fault.ErrCorrupt)
		}
		if err := item.plan.Choose(choices[0]); err != nil {
			return fault.InItem(item.Name, err)
		}
		choices = choices[1:]
	}
	return nil
}
