package etcd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/go-orbax/orbax/coord"
)

// member is the [coord.Driver] of a process.
type member struct {
	client      *clientv3.Client
	rank, size  int
	ttl         time.Duration
	lease       clientv3.LeaseID
	incarnation string
	places      string // prefix of the keys of members
	prefix      string // of the keys of the group

	own  context.Context         // ends with a LostError when this process is lost
	lose context.CancelCauseFunc // ends own
	lost []chan struct{}         // by rank: closed when the process is lost

	whole context.Context         // ends with a LostError when the first process is lost
	lack  context.CancelCauseFunc // ends whole

	leave      sync.Once
	leaving    chan struct{} // closed by Close
	background sync.WaitGroup
	left       error
}

func (m *member) Rank() int { return m.rank }
func (m *member) Size() int { return m.size }

// live takes a lease and keeps it alive until the process leaves. If the cluster does not
// confirm it for its TTL, the process is lost: by then the cluster may have given it up.
// That includes a process that was stopped and continues.
func (m *member) live(ctx context.Context) error {
	asked := time.Now()
	grant, err := m.client.Grant(ctx, int64((m.ttl+time.Second-1)/time.Second))
	if err != nil {
		return err
	}
	m.lease = grant.ID
	until := asked.Add(m.ttl)
	m.background.Go(func() {
		defer m.end()
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		for timer := time.NewTimer(0); ; {
			select {
			case <-m.leaving:
				return
			case <-m.own.Done(): // for the others this process is lost soon, too
				return
			case <-timer.C:
			}
			if !time.Now().Before(until) {
				return
			}
			asked := time.Now()
			try, cancel := context.WithDeadline(ctx, until)
			_, err := m.client.KeepAliveOnce(try, m.lease)
			cancel()
			switch {
			case err == nil:
				until = asked.Add(m.ttl)
				timer.Reset(m.ttl / 3)
			case errors.Is(err, rpctypes.ErrLeaseNotFound):
				return
			default:
				timer.Reset(min(m.ttl/20, time.Until(until)))
			}
		}
	})
	return nil
}

// end makes this process lost.
func (m *member) end() { m.lose(&coord.LostError{Rank: m.rank}) }

// watch marks the processes as lost whose keys go. The places were taken at a revision.
func (m *member) watch(revision int64) {
	m.background.Go(func() {
		ctx, cancel := m.while(context.Background())
		defer cancel()
		gone := make([]bool, m.size)
		lose := func(rank int) {
			if gone[rank] {
				return
			}
			gone[rank] = true
			close(m.lost[rank])
			m.lack(&coord.LostError{Rank: rank})
			if rank == m.rank {
				m.end()
			}
		}
		for {
			compacted := false
			for r := range m.client.Watch(clientv3.WithRequireLeader(ctx), m.places, clientv3.WithPrefix(), clientv3.WithRev(revision+1)) {
				if compacted = r.CompactRevision > 0; compacted {
					break
				}
				for _, event := range r.Events {
					if rank, err := m.rankOf(string(event.Kv.Key)); err == nil {
						lose(rank)
					}
				}
				revision = max(revision, r.Header.Revision)
			}
			if compacted {
				if r, err := m.client.Get(ctx, m.places, clientv3.WithPrefix()); err == nil {
					for rank, there := range m.since(r, revision) {
						if !there {
							lose(rank)
						}
					}
					revision = r.Header.Revision
					continue
				}
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(m.ttl / 20): // the watch has failed; begin a new one
			}
		}
	})
}

// since reports, by rank, which places have been taken since before a revision without a
// break. The cluster keeps no history of the time before it was compacted, but a key that
// goes and comes is a new one.
func (m *member) since(r *clientv3.GetResponse, revision int64) []bool {
	there := make([]bool, m.size)
	for _, kv := range r.Kvs {
		if rank, err := m.rankOf(string(kv.Key)); err == nil && kv.CreateRevision <= revision {
			there[rank] = true
		}
	}
	return there
}

// while returns a context that ends when this process is lost or leaves, too.
func (m *member) while(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(m.own, func() { cancel(context.Cause(m.own)) })
	return ctx, func() {
		stop()
		cancel(context.Canceled)
	}
}

// because returns the reason of an error of a request in a context of while.
func (m *member) because(ctx context.Context, err error) error {
	var lost *coord.LostError
	switch {
	case err == nil:
		return nil
	case errors.As(context.Cause(ctx), &lost):
		return lost
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		m.end()
		return &coord.LostError{Rank: m.rank}
	case ctx.Err() != nil && !errors.Is(err, ctx.Err()): // etcd has errors of its own for it
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return err
}

// request runs f in a context that ends when this process is lost.
func (m *member) request(ctx context.Context, f func(ctx context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if m.own.Err() != nil {
		return context.Cause(m.own)
	}
	ctx, cancel := m.while(ctx)
	defer cancel()
	return m.because(ctx, f(ctx))
}

func (m *member) Set(ctx context.Context, key string, value []byte) error {
	return m.request(ctx, func(ctx context.Context) error {
		_, err := m.client.Put(ctx, m.prefix+key, string(value), clientv3.WithLease(m.lease))
		return err
	})
}

func (m *member) Get(ctx context.Context, key string) (value []byte, err error) {
	err = m.request(ctx, func(ctx context.Context) error {
		r, err := m.client.Get(ctx, m.prefix+key)
		if err == nil && len(r.Kvs) == 0 {
			err = &fs.PathError{Op: "get", Path: key, Err: fs.ErrNotExist}
		}
		if err == nil {
			value = r.Kvs[0].Value
		}
		return err
	})
	return value, err
}

func (m *member) Wait(ctx context.Context, key string, from int) (value []byte, err error) {
	err = m.request(ctx, func(ctx context.Context) error {
		for {
			value, err = m.wait(ctx, key, from)
			if !errors.Is(err, errWatch) {
				return err
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(m.ttl / 20):
			}
		}
	})
	return value, err
}

// errWatch matches the errors of a watch that can be begun again, for example because the
// cluster has been compacted or chooses a leader.
var errWatch = errors.New("etcd has ended a watch")

// wait is Wait, with one watch.
func (m *member) wait(ctx context.Context, key string, from int) ([]byte, error) {
	r, err := m.client.Get(ctx, m.prefix+key)
	if err != nil {
		return nil, err
	}
	if len(r.Kvs) > 0 {
		return r.Kvs[0].Value, nil
	}
	watch, cancel := context.WithCancel(ctx)
	defer cancel()
	changes := m.client.Watch(clientv3.WithRequireLeader(watch), m.prefix+key, clientv3.WithRev(r.Header.Revision+1), clientv3.WithFilterDelete())
	for {
		select {
		case <-m.lost[from]:
			return nil, &coord.LostError{Rank: from}
		case <-ctx.Done():
			return nil, ctx.Err()
		case r, ok := <-changes:
			if err := r.Err(); err != nil {
				return nil, fmt.Errorf("%w: %w", errWatch, err)
			}
			if len(r.Events) > 0 {
				return r.Events[0].Kv.Value, nil
			}
			if !ok {
				return nil, errWatch
			}
		}
	}
}

func (m *member) List(ctx context.Context, prefix string) (entries []coord.Entry, err error) {
	err = m.request(ctx, func(ctx context.Context) error {
		r, err := m.client.Get(ctx, m.prefix+prefix, clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByKey, clientv3.SortAscend))
		if err != nil {
			return err
		}
		for _, kv := range r.Kvs {
			entries = append(entries, coord.Entry{Key: strings.TrimPrefix(string(kv.Key), m.prefix), Value: kv.Value})
		}
		return nil
	})
	return entries, err
}

func (m *member) Delete(ctx context.Context, prefix string) error {
	return m.request(ctx, func(ctx context.Context) error {
		r, err := m.client.Txn(ctx).
			If(clientv3.Compare(clientv3.Value(m.place(m.rank)), "=", m.incarnation)).
			Then(clientv3.OpDelete(m.prefix+prefix, clientv3.WithPrefix())).
			Commit()
		if err == nil && !r.Succeeded {
			m.end()
			err = &coord.LostError{Rank: m.rank}
		}
		return err
	})
}

func (m *member) Lost(ctx context.Context) (ranks []int, err error) {
	err = m.request(ctx, func(context.Context) error {
		for rank, lost := range m.lost {
			select {
			case <-lost:
				ranks = append(ranks, rank)
			default:
			}
		}
		return nil
	})
	return ranks, err
}

// Close gives the lease back, by which etcd removes all keys of this process. If etcd
// cannot be reached, that happens when the lease ends.
func (m *member) Close() error {
	m.leave.Do(func() {
		close(m.leaving)
		m.end()
		m.background.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), m.ttl)
		defer cancel()
		if _, err := m.client.Revoke(ctx, m.lease); err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
			m.left = fmt.Errorf("etcd: leave: %w", err)
		}
	})
	return m.left
}
