package transfer

// WithScratch calls f with n bytes of memory, of any content, that are f's
// until it returns. f may call it in turn. If the process cannot have so much it
// returns an error that matches fault.ErrNoMemory.
func WithScratch(n int, f func([]byte) error) error {
	pool := borrowPool(defaultBudget)
	b, err := pool.get(int64(n), defaultBudget)
	pool.release() // what f calls finds the other buffers there
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
