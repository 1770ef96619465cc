package transfer

// WithScratch calls f with n bytes of memory, which have arbitrary content and belong to
// f until it returns. f may call WithScratch. If the process cannot have so much memory,
// the error matches fault.ErrNoMemory.
func WithScratch(n int, f func([]byte) error) error {
	pool := borrowPool(defaultBudget)
	b, err := pool.get(int64(n), defaultBudget)
	pool.release() // calls of WithScratch in f find the other buffers there
	if err != nil {
		return err
	}
	defer func() {
		pool := borrowPool(defaultBudget)
		pool.put(b, defaultBudget)
		pool.release()
	}()
	return f(b)
}
