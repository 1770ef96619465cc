// Package jax lets Go processes beside a JAX job coordinate through the coordination
// service of that job, the one that jax.distributed.initialize starts in process 0.
//
// The Go processes are not processes of the job: it does not count them, does not wait for
// them, and goes on without them. There are two things that they can do.
//
// They form a [coord.Group] of their own, with ranks and a size of their own:
//
//	client, err := jax.Dial(ctx, "10.0.0.1:1234")
//	…
//	defer client.Close()
//	group, err := jax.Join(ctx, client, jax.Options{Name: "loaders", Rank: rank, Size: 4})
//
// And a Go process saves a checkpointable of its own in each checkpoint that the job saves
// with Orbax, in the same commit:
//
//	err := jax.Serve(ctx, client, "go_state", func(ctx context.Context, p jax.Part) error {
//		return guest.WritePart(ctx, p.Dir, p.Name, state)
//	})
//
// The job needs the file orbax_go.py of this directory for that, which its programmers copy.
//
// The package uses only the keys and values of the service. Its other calls are for the
// processes of the job, and a call of another process can end the job. The protocol is that
// of jaxlib 0.10; see [DialectError].
package jax

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/go-orbax/orbax/coord"
)

// Options say which place in which group a process takes.
type Options struct {
	// Name is the name of the group, which all of its processes have in common. Groups of
	// different names do not see each other. It begins the keys in the service: "loaders"
	// has keys such as loaders/members/places/0.
	Name string
	// Rank is the number of the process, from 0 to Size-1, and Size is the number of Go
	// processes in the group.
	Rank, Size int
	// TTL is how long a process that has died, was stopped, or cannot reach the service
	// stays a member. 0 means DefaultTTL. All processes of a group have the same.
	//
	// Each process sets and reads the keys of all members four times in a TTL. That suits
	// some hundred processes.
	TTL time.Duration
}

// DefaultTTL is the TTL of a group that chooses none.
const DefaultTTL = 10 * time.Second

// Join makes this process a member of a group, and waits until all its processes have
// joined. It fails when ctx ends, and with [ErrGone] when the job ends. A process whose
// rank an earlier process still has, which may be dead, waits until that has left, at most
// for its TTL.
//
// If a process is lost, the group is of no use any more; the others leave it and join
// again. Join returns the same group to all: processes that have joined together. If the
// job ends, every process of the group is lost to itself, and its errors match ErrGone.
func Join(ctx context.Context, client *Client, o Options) (*coord.Group, error) {
	if o.TTL == 0 {
		o.TTL = DefaultTTL
	}
	switch {
	case o.Name == "" || strings.HasSuffix(o.Name, "/"):
		return nil, fmt.Errorf("jax: %q is no name of a group", o.Name)
	case o.Size < 1 || o.Rank < 0 || o.Rank >= o.Size:
		return nil, fmt.Errorf("jax: rank %d of %d", o.Rank, o.Size)
	case o.TTL < minTTL:
		return nil, fmt.Errorf("jax: the TTL %v is less than %v", o.TTL, minTTL)
	}
	for {
		m, err := join(ctx, client, o)
		if err != nil {
			return nil, fmt.Errorf("jax: join %s as %d of %d: %w", o.Name, o.Rank, o.Size, err)
		}
		group, err := m.agree(ctx)
		if err == nil && m.rank == 0 {
			err = m.sweep(ctx)
		}
		if err == nil {
			return group, nil
		}
		cerr := m.Close()
		if ctx.Err() != nil || !errors.As(err, new(*coord.LostError)) || errors.Is(err, ErrGone) {
			return nil, fmt.Errorf("jax: join %s as %d of %d: %w", o.Name, o.Rank, o.Size, errors.Join(err, cerr))
		}
		// The others leave their places too. Until they have, this place stays free, so that
		// no process takes their old places for a group.
		if pause(ctx, m.ttl/3) != nil {
			return nil, fmt.Errorf("jax: join %s as %d of %d: %w", o.Name, o.Rank, o.Size, errors.Join(err, ctx.Err()))
		}
	}
}

// agree makes the group of a member. A process that saw other members has computed another
// group, which has lost one of its processes since. It may wait for one that lives, so a
// loss of any process ends the wait.
func (m *member) agree(ctx context.Context) (*coord.Group, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for _, p := range m.peers {
		stop := context.AfterFunc(p.lost, func() {
			if pause(ctx, outcomeDelay) == nil { // perhaps all had joined, and it has left already
				cancel(context.Cause(p.lost))
			}
		})
		defer stop()
	}
	group := coord.NewGroup(m)
	err := group.Barrier(ctx, "join")
	if lost := new(coord.LostError); err != nil && errors.As(context.Cause(ctx), &lost) {
		err = lost
	}
	return group, err
}

// outcomeDelay is longer than an outcome needs to arrive.
const outcomeDelay = 500 * time.Millisecond

// minTTL is the shortest TTL. It leaves time for the scheduling of a busy machine.
const minTTL = time.Second

// join takes the place of a member and waits for the others.
func join(ctx context.Context, client *Client, o Options) (_ *member, err error) {
	m := newMember(client, o)
	if err := m.live(ctx); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.Close())
		}
	}()
	if err := m.until(ctx, m.takePlace); err != nil {
		return nil, err
	}
	return m, m.until(ctx, m.assemble)
}

// until calls try with a new look at the members, until it is done. It looks seldom if
// that takes long.
func (m *member) until(ctx context.Context, try func(ctx context.Context, now *members) (done bool, err error)) error {
	for wait := lookPause; ; wait = min(2*wait, m.ttl/4) {
		done := false
		err := m.request(ctx, func(ctx context.Context) error {
			now, err := m.look(ctx)
			if err == nil {
				done, err = try(ctx, now)
			}
			if err == nil && !done {
				err = pause(ctx, wait)
			}
			return err
		})
		if err != nil || done {
			return err
		}
	}
}

// lookPause is the time between the first looks at the members.
const lookPause = 10 * time.Millisecond

// takePlace sets the key of the member, once no other process has it.
func (m *member) takePlace(ctx context.Context, now *members) (bool, error) {
	switch holder := now.places[m.rank]; {
	case holder == m.incarnation:
		return true, nil
	case holder == "":
		if err := m.client.add(ctx, m.place(m.rank), m.incarnation); !errors.Is(err, fs.ErrExist) {
			return err == nil, err
		}
	case now.dead[holder]:
		return false, m.bury(ctx, m.rank, holder)
	}
	return false, nil
}

// assemble waits until all places are taken by processes that seem to live.
func (m *member) assemble(ctx context.Context, now *members) (bool, error) {
	if now.places[m.rank] != m.incarnation {
		return false, &coord.LostError{Rank: m.rank}
	}
	incarnations := make([]string, m.size)
	for rank, incarnation := range now.places {
		if rank >= m.size {
			return false, fmt.Errorf("%s is in a group of %d processes; another group has the same name", m.place(rank), m.size)
		}
		if now.dead[incarnation] {
			return false, m.bury(ctx, rank, incarnation)
		}
		incarnations[rank] = incarnation
	}
	if slices.Contains(incarnations, "") {
		return false, nil
	}
	sum := sha256.Sum256([]byte(strings.Join(incarnations, " ")))
	m.begin(incarnations, m.groups()+hex.EncodeToString(sum[:8])+"/")
	return true, nil
}

// newIncarnation returns a name for this process, which no other process ever has.
func newIncarnation() string { return rand.Text() }
