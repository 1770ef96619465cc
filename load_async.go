package orbax

import (
	"context"
	"errors"

	"github.com/go-orbax/orbax/internal/layout"
)

// LoadResponse is a load that runs in the background. Its methods may be called
// by several goroutines.
type LoadResponse[T any] struct {
	async *AsyncResponse
	value T
}

// loadAsync runs load, of what is at path now, in the background.
func loadAsync[T any](path string, load func(path string) (T, error)) *LoadResponse[T] {
	r := &LoadResponse[T]{}
	absolute := layout.Absolute(path)
	r.async = respond(func() (err error) {
		r.value, err = load(absolute)
		if e, ok := errors.AsType[*Error](err); ok && e.Path == absolute {
			e.Path = path
		}
		return err
	})
	return r
}

// Result waits for the load and returns what it gave, every time that it is
// called. ctx limits the wait only: the load goes on.
func (r *LoadResponse[T]) Result(ctx context.Context) (T, error) {
	if err := r.async.Result(ctx); err != nil {
		var none T
		return none, err
	}
	return r.value, nil
}

// Done is closed when the load has ended.
func (r *LoadResponse[T]) Done() <-chan struct{} { return r.async.Done() }

// LoadAsync is Load in the background, of every layout that Load reads. All
// errors come from the response. ctx governs the load.
func LoadAsync(ctx context.Context, path string, options ...LoadOption) *LoadResponse[any] {
	return loadAsync(path, func(path string) (any, error) { return Load(ctx, path, options...) })
}

// LoadIntoAsync is LoadInto in the background: target must not be used before the
// response is done. The response's value is target.
func LoadIntoAsync[T any](ctx context.Context, path string, target T, options ...LoadOption) *LoadResponse[T] {
	return loadAsync(path, func(path string) (T, error) { return target, LoadInto(ctx, path, target, options...) })
}

// LoadCheckpointablesAsync is LoadCheckpointables in the background: the targets
// must not be used before the response is done.
func LoadCheckpointablesAsync(ctx context.Context, path string, targets map[string]any, options ...LoadCheckpointablesOption) *LoadResponse[map[string]any] {
	return loadAsync(path, func(path string) (map[string]any, error) { return LoadCheckpointables(ctx, path, targets, options...) })
}
