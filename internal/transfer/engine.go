package transfer

import (
	"context"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

// run calls do for each of n jobs, several at a time, until one fails or ctx
// ends. A job may ask once for its buffer: page-aligned, of need(job) bytes, of
// any content, its own during the call. All buffers, with what extra says that
// jobs take besides, stay within budgetBytes; a job that needs more runs alone. A plan made of a damaged
// checkpoint can need any amount, so a job asks only once it knows better.
func run(ctx context.Context, n int, need, extra func(job int) int64, do func(ctx context.Context, job int, buffer func() []byte) error) error {
	var buffers bufferPool
	var next atomic.Int64
	budget := semaphore.NewWeighted(budgetBytes)
	group, ctx := errgroup.WithContext(ctx)
	for range workers(n) {
		group.Go(func() error {
			for {
				job := int(next.Add(1)) - 1
				if job >= n {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				size := need(job)
				weight := min(size+extra(job), budgetBytes)
				if err := budget.Acquire(ctx, weight); err != nil {
					return err
				}
				var buf []byte
				err := do(ctx, job, func() []byte {
					buf = buffers.get(size)
					return buf
				})
				buffers.put(buf)
				budget.Release(weight)
				if err != nil {
					return err
				}
			}
		})
	}
	return group.Wait()
}

// none is the need of jobs that take no memory.
func none(int) int64 { return 0 }

// bufferPool keeps buffers for the next jobs of one run. Left to the garbage
// collector, which waits for the heap to double, they would pile up to the size
// of the state.
type bufferPool struct {
	mu   sync.Mutex
	free [][]byte // by capacity, ascending
	kept int64    // the sum of the capacities
}

// get returns n bytes: of the smallest buffer that has them, else new ones, for
// which smaller buffers are given up.
func (p *bufferPool) get(n int64) []byte {
	if n == 0 {
		return nil
	}
	size := sizeClass(n)
	if b := p.take(n, size); b != nil {
		return b[:n]
	}
	return pageBuffer(int(size))[:n]
}

func (p *bufferPool) take(n, size int64) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, b := range p.free {
		if int64(cap(b)) >= n {
			p.free = slices.Delete(p.free, i, i+1)
			p.kept -= int64(cap(b))
			return b
		}
	}
	for len(p.free) > 0 && p.kept+size > budgetBytes {
		p.kept -= int64(cap(p.free[0]))
		p.free = slices.Delete(p.free, 0, 1)
	}
	return nil
}

func (p *bufferPool) put(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if size := int64(cap(b)); size > 0 && p.kept+size <= budgetBytes {
		i, _ := slices.BinarySearchFunc(p.free, size, func(b []byte, n int64) int { return int(int64(cap(b)) - n) })
		p.free = slices.Insert(p.free, i, b[:0])
		p.kept += size
	}
}

// sizeClass rounds n up by at most a quarter, so that jobs of nearly equal
// sizes, as compressed chunks are, can use the same buffers.
func sizeClass(n int64) int64 {
	step := int64(1) << max(16, bits.Len64(uint64(n))-3)
	return (n + step - 1) / step * step
}
