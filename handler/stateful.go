package handler

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
)

// Stateful is an object that writes and reads its own directory, such as the iterator of
// a dataset.
type Stateful interface {
	// SaveState captures the object's state and returns the function that writes it. The
	// object may change while that function runs.
	SaveState(ctx context.Context) (WriteFunc, error)
	// LoadState replaces the object's state by the state that SaveState wrote.
	LoadState(ctx context.Context, dir *ReadDir) error
}

// StatefulHandler saves and loads [Stateful] objects. A load needs a target.
type StatefulHandler struct{}

// Type returns the name of Orbax's handler of stateful objects.
func (StatefulHandler) Type() string {
	return layout.StatefulHandler
}

// PerProcess makes every process of a save write its object.
func (StatefulHandler) PerProcess() {}

// CanSave accepts every [Stateful].
func (StatefulHandler) CanSave(v any) bool { _, ok := v.(Stateful); return ok }

// Save calls SaveState of v and returns its results.
func (StatefulHandler) Save(ctx context.Context, v any, opts SaveOptions) (WriteFunc, error) {
	s, ok := v.(Stateful)
	if !ok {
		return nil, fmt.Errorf("%w: %T is not Stateful", fault.ErrLeafType, v)
	}
	if d, ok := v.(*datasetIterator); ok {
		if err := d.belongs(opts.Operation.Processes()); err != nil {
			return nil, err
		}
	}
	return s.SaveState(ctx)
}

// CanLoad accepts every [Stateful].
func (StatefulHandler) CanLoad(target any) bool { _, ok := target.(Stateful); return ok }

// Load calls LoadState of target and returns its error. Without a target the error
// matches orbax.ErrStructure.
func (StatefulHandler) Load(ctx context.Context, dir *ReadDir, target any, _ LoadOptions) (any, error) {
	s, ok := target.(Stateful)
	if !ok {
		return nil, fmt.Errorf("%w: it is a stateful object, such as the position of a dataset, which has no value of its own; "+
			"give LoadCheckpointables a target for it, such as handler.DatasetIterator(it)", fault.ErrStructure)
	}
	return s, s.LoadState(ctx, dir)
}

// Metadata returns nil: a stateful object has no metadata.
func (StatefulHandler) Metadata(context.Context, *ReadDir) (any, error) { return nil, nil }

// Iterator is a dataset iterator whose position is a small JSON document.
type Iterator interface {
	// State returns the position as JSON, in which Python's words NaN and Infinity are
	// allowed. A save of anything else fails.
	State() ([]byte, error)
	// SetState moves the iterator to the position that State returned as state.
	SetState(state []byte) error
}

// DatasetIterator makes an iterator [Stateful]. It uses the file of the iterators of
// grain: process_0-of-1.json holds the state. In a save by several processes each needs
// [DatasetIteratorOf].
func DatasetIterator(it Iterator) Stateful { return &datasetIterator{it, 0, 1} }

// DatasetIteratorOf is [DatasetIterator] for process index of count processes. Each
// process has its own iterator over the same dataset. A save by several processes takes only
// their rank and number; its error matches orbax.ErrStructure otherwise. A load with another
// count fails with an error that matches orbax.ErrNotExist. In the Resume of a run it
// matches orbax.ErrStructure instead, because there orbax.ErrNotExist means a new run;
// docs/training.md shows how to resume with another count.
func DatasetIteratorOf(it Iterator, index, count int) Stateful {
	return &datasetIterator{it, index, count}
}

type datasetIterator struct {
	it           Iterator
	index, count int
}

func (d *datasetIterator) file() string {
	return fmt.Sprintf("process_%d-of-%d.json", d.index, d.count)
}

// belongs refuses the iterator of another process, whose file another process writes or no
// group can load.
func (d *datasetIterator) belongs(rank, size int) error {
	if size == 1 || d.index == rank && d.count == size {
		return nil
	}
	return fmt.Errorf("%w: the dataset iterator is that of process %d of %d, but process %d of %d saves it; use handler.DatasetIteratorOf(it, %d, %d)",
		fault.ErrStructure, d.index, d.count, rank, size, rank, size)
}

func (d *datasetIterator) SaveState(context.Context) (WriteFunc, error) {
	state, err := d.it.State()
	if err != nil {
		return nil, err
	}
	if _, err := layout.DecodeJSON(state); err != nil {
		return nil, fmt.Errorf("%w: the state of a %T is not JSON: %w", fault.ErrLeafType, d.it, err)
	}
	state = bytes.Clone(state) // the iterator may use the memory again
	return func(ctx context.Context, dir *WriteDir) error {
		return dir.WriteFile(ctx, d.file(), state)
	}, nil
}

func (d *datasetIterator) LoadState(ctx context.Context, dir *ReadDir) error {
	state, err := dir.ReadFile(ctx, d.file())
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s; a position is loaded by as many processes as have saved it", fault.ErrNotExist, d.file())
	}
	if err != nil {
		return err
	}
	return d.it.SetState(state)
}
