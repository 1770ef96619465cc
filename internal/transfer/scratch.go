package handler

import "sync"

// buffers are for one chunk at a time, of which large arrays have many.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// withScratch calls f with n bytes of memory, of any content, that are f's
// until it returns.
func withScratch(n int, f func([]byte) error) error {
	b := buffers.Get().(*[]byte)
	defer buffers.Put(b)
	if cap(*b) < n {
		*b = make([]byte, n)
	}
	return f((*b)[:n])
}
