package handover

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-orbax/orbax/internal/parallel"
)

// receiveAll accepts connections until the other processes have sent all that this one
// gets. A connection whose other side does not know the secret has no effect.
func (m *mover) receiveAll(ctx context.Context) error {
	if m.listener == nil {
		return nil
	}
	group, gctx := parallel.WithContext(ctx)
	strangers := make(chan struct{}, maxStrangers)
	for {
		select {
		case strangers <- struct{}{}:
		case <-gctx.Done():
			return group.Wait()
		}
		conn, err := m.listener.Accept()
		if err != nil {
			if m.complete() || gctx.Err() != nil {
				return group.Wait()
			}
			return cmp.Or(group.Wait(), err)
		}
		if !m.keep(conn, true) {
			_ = conn.Close()
			return group.Wait()
		}
		group.Go(func() error {
			defer func() { _ = m.drop(conn) }()
			from, ok := m.meet(conn)
			<-strangers
			if !ok {
				return nil
			}
			if err := m.receive(conn, from); err != nil {
				m.endListening()
				return fmt.Errorf("process %d: %w", from, err)
			}
			return nil
		})
	}
}

// meet returns the rank of the process on the other side, if it is one that has yet to
// send something.
func (m *mover) meet(conn Conn) (from int, ok bool) {
	if conn.SetDeadline(time.Now().Add(greetTime)) != nil {
		return 0, false
	}
	from, err := answer(conn, m.secret, m.rank)
	if err != nil || conn.SetDeadline(time.Time{}) != nil {
		return 0, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.awaited[from] || m.accepted[from] {
		return 0, false
	}
	m.accepted[from] = true
	m.conns[conn] = false
	return from, true
}

// receive receives what a process sends.
func (m *mover) receive(conn Conn, from int) error {
	r := bufio.NewReaderSize(&countedReader{conn, &m.progress}, 64<<10)
	at := uint64(0)
	for _, s := range m.spans[from] {
		if err := readSpan(r, at, s.data); err != nil {
			return err
		}
		at += uint64(len(s.data))
	}
	m.mu.Lock()
	delete(m.awaited, from)
	last := len(m.awaited) == 0
	m.mu.Unlock()
	if last {
		m.endListening()
	}
	return nil
}

// endListening makes receiveAll return, without a wait for strangers.
func (m *mover) endListening() {
	_ = m.listener.Close()
	m.mu.Lock()
	defer m.mu.Unlock()
	for conn, stranger := range m.conns {
		if stranger {
			_ = conn.Close()
		}
	}
}

// complete reports whether all that this process gets has come.
func (m *mover) complete() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.awaited) == 0
}

// countedReader reads from a connection and notes the time.
type countedReader struct {
	conn     Conn
	progress *atomic.Int64
}

func (r *countedReader) Read(b []byte) (int, error) {
	n, err := r.conn.Read(b)
	if n > 0 {
		r.progress.Store(time.Now().UnixNano())
	}
	return n, err
}
