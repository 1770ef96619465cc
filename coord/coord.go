// Package coord lets processes that save or load one checkpoint together agree on what
// they do.
//
// The processes form a [Group], in which each has a rank. In each operation they pass the
// same phases in the same order, and each phase has one outcome for all of them: if one
// process fails, dies or does not arrive in time, every other process gets an error that
// names it and the phase.
//
//	group, err := etcd.Join(ctx, client, etcd.Options{Name: "run7", Rank: rank, Size: 4})
//	…
//	err = group.Barrier(ctx, "loaded")
//
// A Group works over a [Driver]: a table of keys and values that all processes of the
// group see, and that knows which of them are alive. [InProcess] makes groups whose
// processes are goroutines. Package coordtest tests all that a Driver promises.
package coord

import (
	"context"
	"sync"
	"time"
)

// Driver connects one process with a coordination service. All of its methods may be
// called at the same time by several goroutines. If its context has ended, a method
// returns an error that matches that of the context.
//
// The keys of a group are its own. They have elements between slashes, as file names do.
type Driver interface {
	// Rank returns the number of this process in the group, from 0 to Size-1.
	Rank() int
	// Size returns the number of processes in the group.
	Size() int

	// Set gives a key a value. The values of a process may vanish when it has left the
	// group or is lost.
	Set(ctx context.Context, key string, value []byte) error
	// Get returns the value of a key. Without one it fails with an error that matches
	// [io/fs.ErrNotExist].
	Get(ctx context.Context, key string) ([]byte, error)
	// Wait returns the value of a key as soon as it has one. The process with the rank
	// from is expected to set it: if that process is lost before it has done so, Wait
	// fails with a [*LostError].
	Wait(ctx context.Context, key string, from int) ([]byte, error)
	// List returns the keys that begin with prefix and their values, in the order of the
	// keys.
	List(ctx context.Context, prefix string) ([]Entry, error)
	// Delete removes all keys that begin with prefix.
	Delete(ctx context.Context, prefix string) error

	// Lost returns the ranks of the processes that are lost, ascending. A process is lost
	// if it has left the group, has died, or did not show for a while that it lives. That
	// is final: a process that continues after it was lost gets a [*LostError] of its own
	// rank from every method that has a context, and so can do no harm.
	Lost(ctx context.Context) ([]int, error)
	// Close leaves the group. It removes the keys that this process has set, if the others
	// cannot need them any more.
	Close() error
}

// Entry is a key with its value.
type Entry struct {
	Key   string
	Value []byte
}

// Group is the view that one process has of its group. [NewGroup] makes one. Several goroutines may use it at
// the same time, but the order in which operations begin must be the same in all
// processes.
type Group struct {
	// Timeout, if not 0, takes the place of [DefaultTimeout] in the phases that begin after
	// it is set. The program sets it while no operation runs, for example when it has joined.
	Timeout time.Duration

	driver Driver
	mu     sync.Mutex
	begun  int      // number of operations
	left   []string // prefixes of keys that operations have left
}

// NewGroup returns the group of a driver. It has no effect on other processes.
func NewGroup(driver Driver) *Group { return &Group{driver: driver} }

// Driver returns the driver. A program can use keys of its own; they must not begin with
// "op/".
func (g *Group) Driver() Driver { return g.driver }

// Rank returns the number of this process in the group, from 0 to Size-1.
func (g *Group) Rank() int { return g.driver.Rank() }

// Size returns the number of processes in the group.
func (g *Group) Size() int { return g.driver.Size() }

// leave notes that an operation has left keys, because a process may still wait for them.
func (g *Group) leave(prefix string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left = append(g.left, prefix)
}

// remove removes the keys of an operation that all processes have ended. With it go those
// of earlier ones: who was late then is here now.
func (g *Group) remove(ctx context.Context, prefix string) {
	g.mu.Lock()
	prefixes := append(g.left, prefix)
	g.left = nil
	g.mu.Unlock()
	for _, p := range prefixes {
		_ = g.driver.Delete(ctx, p)
	}
}

// Close leaves the group; for the other processes this process is lost then. Operations
// must have ended before.
func (g *Group) Close() error { return g.driver.Close() }

// Barrier waits until all processes of the group have called Barrier with this name. It
// is an operation of one phase; see [Group.Begin] for its errors and its deadline.
func (g *Group) Barrier(ctx context.Context, name string) error {
	op := g.Begin("barrier " + name)
	return op.End(ctx, op.Agree(ctx, name, nil))
}
