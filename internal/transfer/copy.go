package transfer

import (
	"context"
	"sync"
)

// Memory is memory for copies, which is kept from one use to the next: memory
// that the system has just handed out takes several times as long to copy to. The
// zero value is ready. It may be used by several goroutines.
type Memory struct {
	mu   sync.Mutex
	free [][]byte
}

// Copy returns copies of src, made in parallel. They are in memory of m, if that
// is not nil, which is theirs until release is called; it may be called once.
func (e *Engine) Copy(ctx context.Context, src [][]byte, m *Memory) (copies [][]byte, release func(), err error) {
	total := 0
	at := make([]int, len(src))
	for i, s := range src {
		if len(s) >= pageValue {
			total = roundUp(total)
		}
		at[i] = total
		total = (total + len(s) + 63) &^ 63 // fit for elements of every size
	}
	e.meter().starting(true)
	memory := m.take(total)
	type piece struct{ dst, src []byte }
	var pieces []piece
	copies = make([][]byte, len(src))
	for i, s := range src {
		copies[i] = memory[at[i]:][:len(s):len(s)]
		for d := copies[i]; len(d) > 0; {
			n := min(len(d), unitBytes)
			pieces = append(pieces, piece{d[:n], s[:n]})
			d, s = d[n:], s[n:]
		}
	}
	release = func() { m.put(memory) }
	err = runAll(ctx, e, len(pieces), work[int]{do: func(_ context.Context, i int, _ func() []byte) error {
		e.meter().Copied.Add(int64(copy(pieces[i].dst, pieces[i].src)))
		return nil
	}})
	if err != nil {
		release()
		return nil, nil, err
	}
	return copies, release, nil
}

// take returns n bytes that nobody else uses. Memory that is too small is given up:
// states grow rarely, and then for good.
func (m *Memory) take(n int) []byte {
	if m != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		for i := len(m.free) - 1; i >= 0; i-- {
			b := m.free[i]
			m.free = m.free[:i]
			if cap(b) >= n {
				return b[:n]
			}
		}
	}
	return pageBuffer(n)[:n]
}

func (m *Memory) put(b []byte) {
	if m != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.free = append(m.free, b)
	}
}

// Free gives up the memory that is not in use.
func (m *Memory) Free() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.free = nil
}
