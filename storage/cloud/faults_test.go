package cloud_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/storage/cloud/internal/servers"
	"github.com/go-orbax/orbax/storage/object"
)

// stateOf returns a state that only the seed determines. Its arrays are one of a few parts,
// and small ones.
func stateOf(seed int) map[string]any {
	r := rand.New(rand.NewPCG(uint64(seed), 7))
	random := func(n int) *array.Array {
		a := make([]int64, n)
		for i := range a {
			a[i] = r.Int64()
		}
		return array.Of(a, n)
	}
	s := map[string]any{"seed": seed, "a": random(1000 + r.IntN(50_000)), "b": random(10)}
	if seed%5 == 0 {
		s["large"] = random(2 << 20) // 16 MiB
	}
	return s
}

// seedOf returns the seed of a loaded state, or an error if it has not exactly the state of
// that seed.
func seedOf(loaded any) (int, error) {
	m, ok := loaded.(map[string]any)
	if !ok {
		return 0, fmt.Errorf("%T was loaded", loaded)
	}
	seed, _ := m["seed"].(int)
	want := stateOf(seed)
	if len(m) != len(want) {
		return 0, fmt.Errorf("seed %d has %d leaves", seed, len(m))
	}
	for name, v := range want {
		a, ok := v.(*array.Array)
		if !ok {
			continue
		}
		if got, ok := m[name].(*array.Array); !ok || !bytes.Equal(got.Bytes(), a.Bytes()) {
			return 0, fmt.Errorf("the leaf %s of seed %d is wrong", name, seed)
		}
	}
	return seed, nil
}

// often returns how often a test does something: in a run of all tests, in a long run and in
// a quick one.
func often(all, long, quick int) int {
	if testenv.EveryBit() {
		return all
	}
	return testenv.Pick(long, quick)
}

// On a bad network, a path holds what the last operation that has succeeded has left, or
// what one that has failed meant to leave, or an incomplete checkpoint that the next
// operation heals.
func TestFaults(t *testing.T) {
	for _, c := range clouds {
		t.Run(c.name, func(t *testing.T) {
			addr := c.start(t)
			bucket := c.newBucket(t, addr)
			network := &servers.Faults{Busy: c.busy}
			bad := object.New(c.open(t, network.Start(t, addr), bucket), object.Options{Lease: 2 * time.Second, Patience: 20 * time.Second, Delay: shortLease.Delay})
			good := object.New(c.open(t, addr, bucket), object.Options{Lease: 2 * time.Second, Delay: shortLease.Delay})
			rounds := often(170, 60, 8)
			paths := []string{"run/1", "run/2", "run/3"}
			var group sync.WaitGroup
			for i, path := range paths {
				group.Go(func() {
					m := &model{t: t, path: path, bad: bad, good: good, may: map[int]bool{0: true}}
					for round := 1; round <= rounds && !t.Failed(); round++ {
						network.Set(30)
						m.step(round*len(paths) + i)
					}
				})
			}
			group.Wait()
			network.Set(0)
			t.Log(network.Counts())
			wantNothing(t, c, addr, bucket, paths)
		})
	}
}

// model knows what may be at a path.
type model struct {
	t         *testing.T
	path      string
	bad, good *object.Store
	may       map[int]bool // seeds; 0 is nothing
	unsure    bool         // an operation has failed, so that the path may be incomplete

	n    int
	when map[int]int // the numbers of the operations that have failed, by what each meant to leave
}

// mayBe notes that an operation that has failed may have left seed at the path.
func (m *model) mayBe(seed int) {
	if m.when == nil {
		m.when = map[int]int{}
	}
	m.n++
	m.may[seed], m.when[seed], m.unsure = true, m.n, true
}

// is notes that seed is at the path. What a failed operation has decided may be finished by the
// next one. What was there before does not come back.
func (m *model) is(seed int) {
	for other := range m.may {
		if other != seed && (!m.unsure || m.when[other] <= m.when[seed]) {
			delete(m.may, other)
		}
	}
}

// step performs a random operation over the bad network, and looks over the good one.
func (m *model) step(seed int) {
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
	defer cancel()
	in := orbax.In(m.bad)
	switch rand.IntN(4) {
	case 0:
		err := orbax.Delete(ctx, m.path, in)
		if errors.Is(err, orbax.ErrNotExist) && m.may[0] {
			return
		}
		m.did("delete", err, 0)
	case 1:
		v, err := orbax.Load(ctx, m.path, in)
		if err != nil {
			m.allowed("load", err)
			return
		}
		if got, err := seedOf(v); err != nil || !m.may[got] {
			m.t.Errorf("%s: a load over the bad network has seed %d, %v; want one of %v", m.path, got, err, m.may)
		}
		return
	default:
		err := orbax.Save(ctx, m.path, stateOf(seed), in, orbax.Overwrite())
		m.did("save", err, seed)
	}
	m.look(ctx)
}

// did notes the outcome of an operation after which seed is at the path.
func (m *model) did(what string, err error, seed int) {
	if err == nil {
		m.may, m.when, m.unsure = map[int]bool{seed: true}, nil, false
		return
	}
	m.allowed(what, err)
	m.mayBe(seed)
}

// allowed fails the test for an error that a network cannot cause.
func (m *model) allowed(what string, err error) {
	for _, secret := range []string{servers.S3Secret, servers.AzureKey} {
		if strings.Contains(err.Error(), secret) {
			m.t.Errorf("%s: a credential is in an error", m.path)
		}
	}
	m.t.Logf("%s: %s: %v", m.path, what, err)
}

// look loads over the good network.
func (m *model) look(ctx context.Context) {
	in := orbax.In(m.good)
	v, err := orbax.Load(ctx, m.path, in)
	switch {
	case err == nil:
		got, err := seedOf(v)
		if err != nil || !m.may[got] {
			m.t.Errorf("%s has seed %d, %v; want one of %v", m.path, got, err, m.may)
		}
		m.is(got)
	case errors.Is(err, orbax.ErrNotExist) && m.may[0]:
	case m.unsure && (errors.Is(err, orbax.ErrIncomplete) || errors.Is(err, orbax.ErrInvalidCheckpoint)): // until it is healed
	default:
		m.t.Errorf("%s: %v; want one of %v", m.path, err, m.may)
	}
}
