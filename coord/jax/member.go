package jax

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-orbax/orbax/coord"
)

// member is the [coord.Driver] of a process.
type member struct {
	client      *Client
	name        string // of the group
	rank, size  int
	ttl         time.Duration
	incarnation string

	own  context.Context         // ends with a LostError when this process is lost
	lose context.CancelCauseFunc // ends own

	mu      sync.Mutex
	expires time.Time            // when this process is lost unless a beat is confirmed
	pulses  map[string]pulse     // of the members, by incarnation
	burials map[string]time.Time // when burials by other processes were seen first
	peers   []*peer              // by rank; nil until the group is complete
	prefix  string               // of the keys of the group; "" until it is complete

	leave      sync.Once
	leaving    chan struct{} // closed by Close
	background sync.WaitGroup
	left       error
}

// peer is a process of the group, this one among them.
type peer struct {
	incarnation string
	lost        context.Context         // ends with a LostError when the process is lost
	mark        context.CancelCauseFunc // ends lost
}

func newMember(client *Client, o Options) *member {
	m := &member{
		client: client, name: o.Name, rank: o.Rank, size: o.Size, ttl: o.TTL,
		incarnation: newIncarnation(),
		pulses:      map[string]pulse{},
		burials:     map[string]time.Time{},
		leaving:     make(chan struct{}),
	}
	m.own, m.lose = context.WithCancelCause(context.Background())
	return m
}

// begin notes the processes of the complete group and the prefix of its keys.
func (m *member) begin(incarnations []string, prefix string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, incarnation := range incarnations {
		p := &peer{incarnation: incarnation}
		p.lost, p.mark = context.WithCancelCause(context.Background())
		m.peers = append(m.peers, p)
	}
	m.prefix = prefix
}

func (m *member) Rank() int { return m.rank }
func (m *member) Size() int { return m.size }

// live sets the first beat, and raises it until the process leaves. If the service does
// not confirm a beat for the TTL, the process is lost: by then the others may have given
// it up. That includes a process that was stopped and continues.
func (m *member) live(ctx context.Context) error {
	asked := time.Now()
	if err := m.client.set(ctx, m.beat(m.incarnation), []byte("0")); err != nil {
		return err
	}
	m.expires = asked.Add(m.ttl)
	m.background.Go(func() {
		timer := time.NewTimer(m.ttl / 4)
		defer timer.Stop()
		var failed error // since the last confirmed beat
		for n := 1; ; n++ {
			select {
			case <-m.leaving:
				return
			case <-m.own.Done():
				return
			case <-timer.C:
			}
			if m.expired() {
				if failed != nil { // otherwise the process was stopped
					// The deadline is that of a beat, which the error must not match.
					failed = fmt.Errorf("%w: the coordination service at %s has confirmed nothing for %v: %v", ErrGone, m.client.address, m.ttl, failed)
				}
				m.end(failed)
				return
			}
			switch err := m.pulse(n); {
			case err == nil:
				failed = nil
				timer.Reset(m.ttl / 4)
			case errors.Is(err, ErrGone):
				m.end(err)
				return
			default:
				failed = err
				timer.Reset(m.ttl / 20)
			}
		}
	})
	return nil
}

// pulse sets the n-th beat, and looks at the others.
func (m *member) pulse(n int) error {
	asked := time.Now()
	m.mu.Lock()
	expires := m.expires
	m.mu.Unlock()
	ctx, cancel := context.WithDeadline(m.own, expires)
	defer cancel()
	if err := m.client.set(ctx, m.beat(m.incarnation), []byte(strconv.Itoa(n))); err != nil {
		return err
	}
	now, err := m.look(ctx)
	if err != nil {
		return err
	}
	if !time.Now().Before(expires) {
		return context.DeadlineExceeded
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expires = asked.Add(m.ttl)
	for rank, p := range m.peers {
		if now.places[rank] != p.incarnation || now.dead[p.incarnation] {
			p.mark(&coord.LostError{Rank: rank})
			if rank == m.rank {
				m.end(nil)
			}
		}
	}
	return nil
}

func (m *member) expired() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !time.Now().Before(m.expires)
}

// end makes this process lost. why may be nil.
func (m *member) end(why error) {
	lost := &coord.LostError{Rank: m.rank}
	if why == nil {
		m.lose(lost)
	} else {
		m.lose(fmt.Errorf("%w: %w", lost, why))
	}
}

// both returns a context that ends when either of two does.
func both(ctx, other context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(other, func() { cancel(context.Cause(other)) })
	return ctx, func() {
		stop()
		cancel(context.Canceled)
	}
}

// request runs f in a context that ends when this process is lost.
func (m *member) request(ctx context.Context, f func(ctx context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if m.expired() {
		m.end(nil)
	}
	if m.own.Err() != nil {
		return context.Cause(m.own)
	}
	alive, cancel := both(ctx, m.own)
	defer cancel()
	err := f(alive)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrGone):
		m.end(err)
		return context.Cause(m.own)
	case alive.Err() != nil && ctx.Err() == nil:
		return context.Cause(m.own)
	}
	return err
}

func (m *member) Set(ctx context.Context, key string, value []byte) error {
	return m.request(ctx, func(ctx context.Context) error { return m.client.set(ctx, m.stored(key), value) })
}

func (m *member) Get(ctx context.Context, key string) (value []byte, err error) {
	err = m.request(ctx, func(ctx context.Context) error {
		value, err = m.client.get(ctx, m.stored(key))
		if errors.Is(err, fs.ErrNotExist) {
			err = &fs.PathError{Op: "get", Path: key, Err: fs.ErrNotExist}
		}
		return err
	})
	return value, err
}

func (m *member) Wait(ctx context.Context, key string, from int) (value []byte, err error) {
	err = m.request(ctx, func(ctx context.Context) error {
		lost := m.peers[from].lost
		alive, cancel := both(ctx, lost)
		defer cancel()
		value, err = m.client.wait(alive, m.stored(key))
		if err == nil || lost.Err() == nil || ctx.Err() != nil {
			return err
		}
		value, err = m.client.get(ctx, m.stored(key)) // it may have been set before
		if errors.Is(err, fs.ErrNotExist) {
			err = context.Cause(lost)
		}
		return err
	})
	return value, err
}

func (m *member) List(ctx context.Context, prefix string) (entries []coord.Entry, err error) {
	err = m.request(ctx, func(ctx context.Context) error {
		entries, err = m.beginning(ctx, prefix)
		return err
	})
	return entries, err
}

// beginning returns the keys of the group that begin with prefix. The service lists only
// directories.
func (m *member) beginning(ctx context.Context, prefix string) (entries []coord.Entry, err error) {
	all, err := m.client.list(ctx, m.storedDir(prefix[:strings.LastIndex(prefix, "/")+1]))
	for _, e := range all {
		if key := m.original(e.Key); strings.HasPrefix(key, prefix) {
			entries = append(entries, coord.Entry{Key: key, Value: e.Value})
		}
	}
	slices.SortFunc(entries, byKey)
	return entries, err
}

func (m *member) Delete(ctx context.Context, prefix string) error {
	return m.request(ctx, func(ctx context.Context) error {
		if prefix == "" || strings.HasSuffix(prefix, "/") {
			return m.client.remove(ctx, m.storedDir(prefix))
		}
		entries, err := m.beginning(ctx, prefix)
		for _, e := range entries {
			if err == nil {
				err = m.client.remove(ctx, m.stored(e.Key))
			}
		}
		return err
	})
}

func (m *member) Lost(ctx context.Context) (ranks []int, err error) {
	err = m.request(ctx, func(context.Context) error {
		for rank, p := range m.peers {
			if p.lost.Err() != nil {
				ranks = append(ranks, rank)
			}
		}
		return nil
	})
	return ranks, err
}

// Close leaves the group. It removes the keys of this process and of those that are lost,
// and if it is the last one, all keys of the group. If the job has ended, there are no
// keys any more.
func (m *member) Close() error {
	m.leave.Do(func() {
		close(m.leaving)
		gone := errors.Is(context.Cause(m.own), ErrGone)
		m.end(nil)
		m.background.Wait()
		for _, p := range m.peers {
			defer p.mark(context.Canceled)
		}
		if gone {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), m.ttl)
		defer cancel()
		if err := m.depart(ctx); err != nil && !errors.Is(err, ErrGone) {
			m.left = fmt.Errorf("jax: leave %s: %w", m.name, err)
		}
	})
	return m.left
}

// depart removes the keys that no process needs when this one has left.
func (m *member) depart(ctx context.Context) error {
	if err := m.unplace(ctx, m.rank, m.incarnation); err != nil {
		return err
	}
	now, err := m.look(ctx)
	if err != nil {
		return err
	}
	for rank, p := range m.peers {
		if p.lost.Err() != nil && now.places[rank] == p.incarnation {
			if err := m.bury(ctx, rank, p.incarnation); err != nil {
				return err
			}
			delete(now.beats, p.incarnation)
		}
	}
	for _, p := range m.peers {
		if now.beats[p.incarnation] {
			return nil // it removes the keys of the group later
		}
	}
	if m.prefix == "" {
		return nil
	}
	return m.client.remove(ctx, m.prefix)
}
