package inspect

import (
	"io"
	"sync"
)

// Destination passes writes on, and keeps the first error. A function that copies leaves
// puts the name of a leaf on every error, even if the copy cannot be written and the
// checkpoint is intact; Err distinguishes the two. Several goroutines may use a
// Destination.
type Destination struct {
	to  io.WriterAt
	mu  sync.Mutex
	err error
}

// NewDestination returns a Destination that writes to w.
func NewDestination(w io.WriterAt) *Destination { return &Destination{to: w} }

func (d *Destination) WriteAt(p []byte, off int64) (int, error) {
	n, err := d.to.WriteAt(p, off)
	if err != nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.err == nil {
			d.err = err
		}
	}
	return n, err
}

// Err returns the first error of the writer below.
func (d *Destination) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}
