package coord_test

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/go-orbax/orbax/coord"
)

// Three processes, here goroutines, do something together. One of them fails, and all get
// to know it.
func ExampleOp_Agree() {
	var processes sync.WaitGroup
	errs := make([]error, 3)
	for rank, group := range coord.InProcess(3) {
		processes.Go(func() {
			defer group.Close()
			ctx := context.Background()
			op := group.Begin("save /ckpt/1")
			var err error
			if rank == 2 {
				err = errors.New("no space left on device")
			}
			errs[rank] = op.End(ctx, op.Agree(ctx, "write", err))
		})
	}
	processes.Wait()
	fmt.Println(errs[0])
	fmt.Println(errs[1])
	// Output:
	// save /ckpt/1: process 2 in phase write: no space left on device
	// save /ckpt/1: process 2 in phase write: no space left on device
}
