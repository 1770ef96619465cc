package handover

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/parallel"
)

const (
	// batchBytes is how much a process reads before it begins to send it, while it reads
	// on.
	batchBytes = 256 << 20
	// sendsAtOnce bounds the processes to which one sends at the same time.
	sendsAtOnce = 16
	// maxStrangers bounds the connections that have not ended their handshake yet, and
	// greetTime how long that takes.
	maxStrangers = 64
	greetTime    = 10 * time.Second
)

// mover moves the spans of one task between this process and the others.
type mover struct {
	group     *coord.Group
	network   Network
	rank      int
	timeout   time.Duration // without any progress
	spans     map[int][]span
	batches   []batch
	read      func(ctx context.Context, parts []Part) error
	secret    []byte
	addresses map[int][]string

	listener Listener     // nil if nothing comes from other processes
	progress atomic.Int64 // when bytes came last

	mu       sync.Mutex
	closed   bool
	conns    map[Conn]bool // true for those whose handshake has not ended
	sends    map[int]bool  // the processes that have yet to get something
	awaited  map[int]bool  // the processes that have yet to send something
	accepted map[int]bool  // those of them that have connected
}

// batch is a run of the spans that this process reads.
type batch struct {
	spans []span
	read  chan struct{} // closed when they have been read
}

// readError is an error of Task.Read.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

func newMover(group *coord.Group, network Network, spans map[int][]span, read func(context.Context, []Part) error) *mover {
	m := &mover{
		group: group, network: network, rank: group.Rank(), timeout: cmp.Or(group.Timeout, coord.DefaultTimeout), spans: spans, read: read,
		conns: map[Conn]bool{}, sends: map[int]bool{}, awaited: map[int]bool{}, accepted: map[int]bool{},
	}
	m.batches = batchesOf(spans[m.rank], batchBytes)
	for rank, theirs := range spans {
		if rank != m.rank && len(theirs) > 0 {
			m.awaited[rank] = true
		}
	}
	for _, s := range spans[m.rank] {
		for _, rank := range s.holders {
			if rank != m.rank {
				m.sends[rank] = true
			}
		}
	}
	return m
}

// batchesOf divides spans into batches of about most bytes.
func batchesOf(spans []span, most int) (batches []batch) {
	for len(spans) > 0 {
		n, bytes := 0, 0
		for n < len(spans) && (n == 0 || bytes+len(spans[n].data) <= most) {
			bytes += len(spans[n].data)
			n++
		}
		batches = append(batches, batch{spans[:n], make(chan struct{})})
		spans = spans[n:]
	}
	return batches
}

// listen begins to listen, if this process gets something from others. It returns its
// addresses.
func (m *mover) listen(ctx context.Context, address string) ([]string, error) {
	if len(m.awaited) == 0 {
		return nil, nil
	}
	l, addresses, err := m.network.Listen(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("%w: a process that gets bytes of others has to listen; set the Address of multihost.Together: %w", fault.ErrUnsupported, err)
	}
	m.listener = l
	return addresses, nil
}

// close closes the listener and all connections.
func (m *mover) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	if m.listener != nil {
		_ = m.listener.Close()
	}
	for conn := range m.conns {
		_ = conn.Close()
	}
}

// keep notes a connection, which close will close. It reports whether that has not
// happened yet.
func (m *mover) keep(conn Conn, stranger bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.conns[conn] = stranger
	}
	return !m.closed
}

// drop closes a connection.
func (m *mover) drop(conn Conn) error {
	m.mu.Lock()
	delete(m.conns, conn)
	m.mu.Unlock()
	return conn.Close()
}

// run reads the part of this process, sends it to the others and receives theirs. Nothing
// that it has begun goes on when it returns.
func (m *mover) run(ctx context.Context) error {
	group, gctx := parallel.WithContext(ctx)
	closed := make(chan struct{})
	go func() { // ends all waits for a connection
		defer close(closed)
		<-gctx.Done()
		m.close()
	}()
	m.progress.Store(time.Now().UnixNano())
	moved := make(chan struct{})
	group.Go(func() error { return m.readAll(gctx) })
	group.Go(func() error {
		both, bctx := parallel.WithContext(gctx)
		both.Go(func() error { return m.sendAll(bctx) })
		both.Go(func() error { return m.receiveAll(bctx) })
		if err := both.Wait(); err != nil {
			return err
		}
		close(moved)
		return nil
	})
	group.Go(func() error { return m.watch(gctx, moved) })
	err := group.Wait()
	<-closed
	if ctx.Err() != nil && err != nil && !errors.As(err, new(*readError)) {
		return context.Cause(ctx) // by which the connections were closed
	}
	return err
}

// readAll reads the batches of this process.
func (m *mover) readAll(ctx context.Context) error {
	for _, b := range m.batches {
		parts := make([]Part, len(b.spans))
		for i, s := range b.spans {
			parts[i] = s.Part
		}
		if err := m.read(ctx, parts); err != nil {
			return &readError{err}
		}
		close(b.read)
	}
	return nil
}

// sendAll sends the batches to the other processes. Each process begins with the one
// after it, so that they do not all send to the same.
func (m *mover) sendAll(ctx context.Context) error {
	m.mu.Lock()
	var to []int
	for i := range m.group.Size() {
		if rank := (m.rank + i) % m.group.Size(); m.sends[rank] {
			to = append(to, rank)
		}
	}
	m.mu.Unlock()
	group, gctx := parallel.WithContext(ctx)
	group.SetLimit(sendsAtOnce)
	for _, rank := range to {
		group.Go(func() error {
			if err := m.send(gctx, rank); err != nil {
				return fmt.Errorf("sending to process %d: %w", rank, err)
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			delete(m.sends, rank)
			return nil
		})
	}
	return group.Wait()
}

// send sends to one process what both hold and this process reads.
func (m *mover) send(ctx context.Context, to int) (err error) {
	conn, err := dial(ctx, m.network, m.addresses[to], m.timeout, func(conn Conn) error { return greet(conn, m.secret, m.rank, to) })
	if err != nil {
		return err
	}
	if !m.keep(conn, false) {
		return errors.Join(context.Cause(ctx), conn.Close())
	}
	defer func() {
		if cerr := m.drop(conn); err == nil {
			err = cerr
		}
	}()
	w := bufio.NewWriterSize(&patientWriter{conn, m.timeout}, 64<<10)
	at := uint64(0)
	for _, b := range m.batches {
		select {
		case <-b.read:
		default:
			if err := w.Flush(); err != nil { // while this process reads on
				return err
			}
			select {
			case <-b.read:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		for _, s := range b.spans {
			if !s.sentTo(to) {
				continue
			}
			if err := writeSpan(w, at, s.data); err != nil {
				return err
			}
			at += uint64(len(s.data))
		}
	}
	return w.Flush()
}

// patientWriter writes to a connection. Each write has a time limit.
type patientWriter struct {
	conn    Conn
	timeout time.Duration
}

func (w *patientWriter) Write(b []byte) (int, error) {
	if err := w.conn.SetWriteDeadline(time.Now().Add(w.timeout)); err != nil {
		return 0, err
	}
	return w.conn.Write(b)
}

// watch fails if a process is lost with which this process has yet to exchange something,
// or if nothing comes from any process for the timeout of the group.
func (m *mover) watch(ctx context.Context, moved <-chan struct{}) error {
	tick := time.NewTicker(max(20*time.Millisecond, min(2*time.Second, m.timeout/20)))
	defer tick.Stop()
	for {
		select {
		case <-moved:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		lost, err := m.group.Driver().Lost(ctx)
		if err != nil {
			return err
		}
		m.mu.Lock()
		late := slices.Sorted(maps.Keys(m.awaited))
		i := slices.IndexFunc(lost, func(rank int) bool { return m.awaited[rank] || m.sends[rank] })
		m.mu.Unlock()
		if i >= 0 {
			return &coord.LostError{Rank: lost[i]}
		}
		if len(late) > 0 && time.Since(time.Unix(0, m.progress.Load())) > m.timeout {
			others := ""
			if len(late) > 1 {
				others = fmt.Sprintf(" and %d others", len(late)-1)
			}
			return fmt.Errorf("for %v nothing has come from process %d%s: what it reads %w", m.timeout, late[0], others, coord.ErrTimeout)
		}
	}
}
