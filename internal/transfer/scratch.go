package transfer

import "sync"

// scratch is memory for one chunk at a time, of which large arrays have many.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// WithScratch calls f with n bytes of memory, of any content, that are f's
// until it returns.
func WithScratch(n int, f func([]byte) error) error {
	b := scratch.Get().(*[]byte)
	defer scratch.Put(b)
	if cap(*b) < n {
		*b = make([]byte, n)
	}
	return f((*b)[:n])
}
