// Package etcd lets the processes of a [coord.Group] coordinate through an etcd cluster.
//
//	client, err := clientv3.New(clientv3.Config{Endpoints: endpoints})
//	…
//	joining, cancel := context.WithTimeout(ctx, 5*time.Minute) // for all processes to start
//	defer cancel()
//	group, err := etcd.Join(joining, client, etcd.Options{Name: "run7", Rank: rank, Size: 4})
//	…
//	defer group.Close()
//
// The program makes the client, with the TLS and the credentials that its cluster wants,
// and closes it after the group. A group needs a few small keys below its name, which a
// lease of each process holds: they vanish when the process leaves or dies. Package
// embedded starts a server in the program, for trials and tests.
package etcd

import (
	"context"
	crand "crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/go-orbax/orbax/coord"
)

// Options say which place in which group a process takes.
type Options struct {
	// Name is the name of the group, which all of its processes have in common. Groups of
	// different names do not see each other. It begins the keys in etcd: "run7" has
	// keys such as run7/members/0.
	Name string
	// Rank is the number of the process, from 0 to Size-1, and Size is the number of
	// processes.
	Rank, Size int
	// TTL is how long a process that has died, was stopped, or cannot reach etcd stays a
	// member. 0 means DefaultTTL. etcd may need longer; with its default election timeout
	// the least is 2 s.
	TTL time.Duration
}

// DefaultTTL is the TTL of a group that chooses none.
const DefaultTTL = 10 * time.Second

// Join makes this process a member of a group, and waits until all its processes have
// joined. It fails when ctx ends, and the error says what it has waited for; give ctx a
// deadline, because Join waits without end otherwise, also for a cluster that does not
// answer. A process whose rank an earlier process still has waits until that has left, or, if
// it is dead, for its TTL.
//
// If a process is lost, the group is of no use any more; the others leave it and join
// again. Join returns the same group to all: processes that have joined together.
func Join(ctx context.Context, client *clientv3.Client, o Options) (*coord.Group, error) {
	if o.TTL == 0 {
		o.TTL = DefaultTTL
	}
	switch {
	case o.Name == "" || strings.HasSuffix(o.Name, "/"):
		return nil, fmt.Errorf("etcd: %q is no name of a group", o.Name)
	case o.Size < 1 || o.Rank < 0 || o.Rank >= o.Size:
		return nil, fmt.Errorf("etcd: rank %d of %d", o.Rank, o.Size)
	case o.TTL < time.Second:
		return nil, fmt.Errorf("etcd: the TTL %v is less than a second", o.TTL)
	}
	for {
		m, err := join(ctx, client, o)
		if err != nil {
			return nil, fmt.Errorf("etcd: join %s as %d of %d: %w", o.Name, o.Rank, o.Size, err)
		}
		group, err := m.agree(ctx)
		if err == nil {
			return group, nil
		}
		cerr := m.Close()
		if ctx.Err() != nil || !errors.As(err, new(*coord.LostError)) {
			return nil, fmt.Errorf("etcd: join %s as %d of %d: %w", o.Name, o.Rank, o.Size, errors.Join(err, cerr))
		}
		// The others leave their places too. Until they have, this place stays free, so that
		// no process takes their old places for a group.
		select {
		case <-ctx.Done():
		case <-time.After(pause + rand.N(pause)):
		}
	}
}

// pause is how long a process that has joined in vain stays away, and at most twice that.
const pause = 150 * time.Millisecond

// agree makes the group of a member. A process that saw other members has computed another
// group, which has lost one of its processes since. It may wait for one that lives, so a
// loss of any process ends the wait.
func (m *member) agree(ctx context.Context) (*coord.Group, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	agreed := make(chan struct{})
	var waiting sync.WaitGroup
	waiting.Go(func() {
		select {
		case <-agreed:
			return
		case <-m.whole.Done():
		}
		select {
		case <-agreed: // all had joined, and the lost process has left already
		case <-time.After(outcomeDelay):
			cancel(context.Cause(m.whole))
		}
	})
	group := coord.NewGroup(m)
	err := group.Barrier(ctx, "join")
	close(agreed)
	waiting.Wait()
	if lost := new(coord.LostError); err != nil && errors.As(context.Cause(ctx), &lost) {
		err = lost
	}
	return group, err
}

// outcomeDelay is longer than an outcome needs to arrive.
const outcomeDelay = 500 * time.Millisecond

// join takes the place of a member and waits for the others.
func join(ctx context.Context, client *clientv3.Client, o Options) (_ *member, err error) {
	m := &member{
		client: client, rank: o.Rank, size: o.Size, ttl: o.TTL,
		places:      o.Name + "/members/",
		incarnation: crand.Text() + ofSize(o.Size),
		lost:        make([]chan struct{}, o.Size),
		leaving:     make(chan struct{}),
	}
	m.own, m.lose = context.WithCancelCause(context.Background())
	m.whole, m.lack = context.WithCancelCause(context.Background())
	for i := range m.lost {
		m.lost[i] = make(chan struct{})
	}
	if err := m.live(ctx); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("etcd does not answer at %s: %w", strings.Join(client.Endpoints(), ", "), err)
		}
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.Close())
		}
	}()
	if err := m.takePlace(ctx); err != nil {
		return nil, err
	}
	revision, err := m.assemble(ctx)
	if err != nil {
		return nil, err
	}
	m.watch(revision)
	return m, nil
}

// takePlace sets the key of the member, once no other process has it.
func (m *member) takePlace(ctx context.Context) error {
	key := m.place(m.rank)
	for {
		r, err := m.client.Txn(ctx).
			If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
			Then(clientv3.OpPut(key, m.incarnation, clientv3.WithLease(m.lease))).
			Else(clientv3.OpGet(key)).
			Commit()
		if err != nil || r.Succeeded {
			return err
		}
		if err := m.awaitChange(ctx, key, r.Header.Revision+1, false); err != nil {
			return fmt.Errorf("another process has rank %d; it lives, or died less than its TTL ago: %w", m.rank, err)
		}
	}
}

// assemble waits until all places are taken, and returns the revision at which they were.
func (m *member) assemble(ctx context.Context) (revision int64, err error) {
	for {
		r, err := m.client.Get(ctx, m.places, clientv3.WithPrefix())
		if err != nil {
			return 0, err
		}
		incarnations := make([]string, m.size)
		for _, kv := range r.Kvs {
			rank, err := m.rankOf(string(kv.Key))
			if err != nil {
				return 0, err
			}
			incarnations[rank] = string(kv.Value)
		}
		var missing []int
		for rank, incarnation := range incarnations {
			if incarnation == "" {
				missing = append(missing, rank)
			}
		}
		if incarnations[m.rank] != m.incarnation {
			return 0, &coord.LostError{Rank: m.rank}
		}
		if len(missing) == 0 {
			sum := sha256.Sum256([]byte(strings.Join(incarnations, " ")))
			m.prefix = strings.TrimSuffix(m.places, "members/") + hex.EncodeToString(sum[:8]) + "/"
			return r.Header.Revision, nil
		}
		if err := m.awaitChange(ctx, m.places, r.Header.Revision+1, true); err != nil {
			var elsewhere string
			for rank, incarnation := range incarnations {
				if incarnation != "" && !strings.HasSuffix(incarnation, ofSize(m.size)) {
					_, size, _ := strings.Cut(incarnation, " of ")
					elsewhere += fmt.Sprintf("; process %d is in a group of %s processes with the same name", rank, size)
				}
			}
			return 0, fmt.Errorf("waiting for the processes %v of %d to join%s: %w", missing, m.size, elsewhere, err)
		}
	}
}

// awaitChange waits until a key, or a key with that prefix, has changed since a revision.
func (m *member) awaitChange(ctx context.Context, key string, revision int64, prefix bool) error {
	ctx, cancel := m.while(ctx)
	defer cancel()
	options := []clientv3.OpOption{clientv3.WithRev(revision)}
	if prefix {
		options = append(options, clientv3.WithPrefix())
	}
	for r := range m.client.Watch(clientv3.WithRequireLeader(ctx), key, options...) {
		if r.CompactRevision > 0 || len(r.Events) > 0 {
			return nil // after a compaction, perhaps
		}
		if err := r.Err(); err != nil {
			return m.because(ctx, err)
		}
	}
	return m.because(ctx, ctx.Err())
}

// ofSize ends the incarnation of a member of a group with n processes.
func ofSize(n int) string { return fmt.Sprint(" of ", n) }

func (m *member) place(rank int) string { return m.places + strconv.Itoa(rank) }

// rankOf returns the rank of the member with a key.
func (m *member) rankOf(key string) (int, error) {
	rank, err := strconv.Atoi(strings.TrimPrefix(key, m.places))
	if err != nil || rank < 0 || rank >= m.size {
		return 0, fmt.Errorf("%s is in a group of %d processes; another group has the same name", key, m.size)
	}
	return rank, nil
}
