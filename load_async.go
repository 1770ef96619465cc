package orbax

import "context"

// LoadResponse is a load that runs in the background. Its methods may be called
// by several goroutines.
type LoadResponse[T any] struct {
	async *AsyncResponse
	value T
}

// loadAsync runs load in the background.
func loadAsync[T any](load func() (T, error)) *LoadResponse[T] {
	r := &LoadResponse[T]{}
	r.async = respond(func() (err error) {
		r.value, err = load()
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
	return loadAsync(func() (any, error) { return Load(ctx, path, options...) })
}

// LoadIntoAsync is LoadInto in the background: target must not be used before the
// response is done. The response's value is target.
func LoadIntoAsync[T any](ctx context.Context, path string, target T, options ...LoadOption) *LoadResponse[T] {
	return loadAsync(func() (T, error) { return target, LoadInto(ctx, path, target, options...) })
}

// LoadCheckpointablesAsync is LoadCheckpointables in the background: the targets
// must not be used before the response is done.
func LoadCheckpointablesAsync(ctx context.Context, path string, targets map[string]any, options ...LoadCheckpointablesOption) *LoadResponse[map[string]any] {
	return loadAsync(func() (map[string]any, error) { return LoadCheckpointables(ctx, path, targets, options...) })
}
