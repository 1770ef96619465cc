package storage

import (
	"cmp"
	"sync"
	"sync/atomic"
)

// syncers is how many directories are synced at once, for which the file
// system's journal and the disk's cache are then flushed together.
const syncers = 8

// together calls f for 0 to n-1, several at once and none after a failure, and
// returns the error of one that failed.
func together(n int, f func(i int) error) error {
	var (
		next   atomic.Int64
		failed atomic.Bool
		errs   = make([]error, min(n, syncers))
		wg     sync.WaitGroup
	)
	for w := range errs {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(n) && !failed.Load(); i = next.Add(1) {
				if errs[w] = f(int(i - 1)); errs[w] != nil {
					failed.Store(true)
				}
			}
		})
	}
	wg.Wait()
	return cmp.Or(errs...)
}
