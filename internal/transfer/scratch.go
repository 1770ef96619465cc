package transfer

// WithScratch calls f with n bytes of memory, of any content, that are f's
// until it returns. f may call it in turn.
func WithScratch(n int, f func([]byte) error) error {
	pool := borrowPool(defaultBudget)
	b := pool.get(int64(n), defaultBudget)
	pool.release() // what f calls finds the other buffers there
	defer func() {
		pool := borrowPool(defaultBudget)
		pool.put(b, defaultBudget)
		pool.release()
	}()
	return f(b)
}
