package transfer

import (
	"context"
	"slices"
	"sync"
)

// Memory is memory for copies that is kept from one use to the next, because copying to
// memory that the system has just handed out takes several times as long. The zero value
// is ready to use. Several goroutines may use a Memory.
type Memory struct {
	mu   sync.Mutex
	free [][]byte // by capacity, ascending
}

// copies is memory that Copy has taken from a Memory.
type copies struct {
	of     *Memory
	memory []byte
}

// Copy returns copies of src, made in parallel. If m is not nil they are in memory of m
// until the engine's [Engine.Release].
func (e *Engine) Copy(ctx context.Context, src [][]byte, m *Memory) ([][]byte, error) {
	total := 0
	at := make([]int, len(src))
	for i, s := range src {
		if len(s) >= PageValue {
			total = roundUp(total)
		}
		at[i] = total
		total = (total + len(s) + 63) &^ 63 // aligned for elements of every size
	}
	e.Counters().Begin(Copying, 0)
	if e == nil {
		m = nil // a nil engine has no Release
	}
	memory := m.take(total)
	if m != nil {
		e.mu.Lock()
		e.copies = append(e.copies, copies{m, memory})
		e.mu.Unlock()
	}
	type piece struct{ dst, src []byte }
	var pieces []piece
	out := make([][]byte, len(src))
	for i, s := range src {
		out[i] = memory[at[i]:][:len(s):len(s)]
		for d := out[i]; len(d) > 0; {
			n := min(len(d), diskUnit)
			pieces = append(pieces, piece{d[:n], s[:n]})
			d, s = d[n:], s[n:]
		}
	}
	return out, runAll(ctx, e, len(pieces), work[int]{do: func(_ context.Context, i int, _ func() ([]byte, error)) error {
		e.Counters().Copied.Add(int64(copy(pieces[i].dst, pieces[i].src)))
		return nil
	}})
}

// Release returns the memory of all copies to the [Memory] that it was taken from. The
// copies must not be used afterwards.
func (e *Engine) Release() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.copies {
		c.of.put(c.memory)
	}
	e.copies = nil
}

// take returns n bytes that are not in use, from the smallest memory that is large
// enough. If none is, it drops the largest: a state that has grown stays large.
func (m *Memory) take(n int) []byte {
	if m != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		for i, b := range m.free {
			if cap(b) >= n {
				m.free = slices.Delete(m.free, i, i+1)
				return b[:n]
			}
		}
		if last := len(m.free) - 1; last >= 0 {
			m.free = slices.Delete(m.free, last, last+1)
		}
	}
	return pageBuffer(n)[:n]
}

func (m *Memory) put(b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, _ := slices.BinarySearchFunc(m.free, cap(b), func(b []byte, n int) int { return cap(b) - n })
	m.free = slices.Insert(m.free, i, b)
}

// Free drops the memory that is not in use.
func (m *Memory) Free() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.free = nil
}
