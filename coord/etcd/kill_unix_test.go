//go:build unix

package etcd_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/testenv"
)

var (
	killSeed = flag.Uint64("killseed", 0, "the seed of TestKilled; 0 stands for a new one")
	killRuns = flag.Int("killruns", testenv.Pick(300, 6), "the number of saves that TestKilled disturbs")
)

// Four processes save a checkpoint, new or over an old one. At a random moment one of them
// is killed, is stopped, or loses its connection to etcd. Then there is the old checkpoint
// or the new one, complete. The others return within their deadline, with an error that
// names the lost process, unless the checkpoint is there. A process that was stopped changes
// nothing when it continues, even after a later save of a new group. That save leaves
// nothing of the earlier one, neither files nor keys nor leases.
func TestKilled(t *testing.T) {
	seed := *killSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-killseed %d -killruns %d", seed, *killRuns)
	newClient := newClients(t)
	client := newClient(t)
	table := &killTable{counts: map[string]int{}}
	begun := time.Now()
	var run atomic.Int64
	var fields sync.WaitGroup
	for i := range testenv.Pick(8, 3) { // they wait most of the time
		f := &killField{T: t, client: client, name: fmt.Sprint("field", i), table: table, dir: t.TempDir(), usual: 100 * time.Millisecond}
		f.path = filepath.Join(f.dir, "ckpt")
		fields.Go(func() {
			defer f.close()
			f.saveAll()
			for !t.Failed() {
				n := run.Add(1)
				if n > int64(*killRuns) {
					return
				}
				f.r = rand.New(rand.NewPCG(seed, uint64(n)))
				f.disturb(n)
			}
		})
	}
	fields.Wait()
	t.Logf("%v; the longest survivor has returned after %v\n%s", time.Since(begun).Round(time.Second), table.longest, table)
	for deadline := time.Now().Add(3 * ttl); ; time.Sleep(100 * time.Millisecond) {
		keys, err := client.Get(t.Context(), "", clientv3.WithPrefix(), clientv3.WithKeysOnly())
		if err != nil {
			t.Fatal(err)
		}
		leases, err := client.Leases(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(keys.Kvs) == 0 && len(leases.Leases) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("keys %v and leases %v are left", keys.Kvs, leases.Leases)
		}
	}
}

// killTable counts the outcomes.
type killTable struct {
	mu      sync.Mutex
	counts  map[string]int
	longest time.Duration
}

func (k *killTable) add(outcome string, longest time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.counts[outcome]++
	k.longest = max(k.longest, longest)
}

func (k *killTable) String() string {
	var b strings.Builder
	for _, o := range slices.Sorted(maps.Keys(k.counts)) {
		fmt.Fprintf(&b, "%4d %s\n", k.counts[o], o)
	}
	return b.String()
}

// killField is a directory with a group of savers.
type killField struct {
	*testing.T
	r         *rand.Rand
	client    *clientv3.Client
	name      string
	dir, path string
	table     *killTable
	all       [savers]*saverProcess
	links     [savers]*link
	version   int           // of the checkpoint, 0 if there is none
	last      int           // the last version that a save has tried
	usual     time.Duration // that a save takes
	what      string        // describes the run
}

func (f *killField) Errorf(format string, args ...any) {
	f.Helper()
	f.T.Errorf("%s: %s", f.what, fmt.Sprintf(format, args...))
}

// each calls do for the savers of the given ranks at the same time.
func (f *killField) each(ranks []int, do func(rank int)) {
	var wg sync.WaitGroup
	for _, rank := range ranks {
		wg.Go(func() { do(rank) })
	}
	wg.Wait()
}

var everySaver = []int{0, 1, 2, 3}

// join starts the savers that have ended, and lets all join, unless they have.
func (f *killField) join() {
	f.each(everySaver, func(rank int) {
		p := f.all[rank]
		if p == nil {
			var err error
			if p, err = startSaver(); err != nil {
				f.Errorf("%v", err)
				return
			}
			f.all[rank] = p
		}
		if p.joined {
			return
		}
		l, err := openLink(f.client.Endpoints()[0])
		if err != nil {
			f.Errorf("%v", err)
			return
		}
		f.links[rank] = l
		p.orders.Encode(order{Do: "join", Endpoint: l.Addr().String(), Group: f.name, Rank: rank})
		a, err := p.next(2 * patience)
		if err != nil || a.Err != "" {
			f.Errorf("process %d: join: %v, %s", rank, err, a.Err)
			return
		}
		p.joined = true
	})
}

// leave lets a saver leave its group, if it has joined one.
func (f *killField) leave(rank int) {
	p := f.all[rank]
	if p != nil && p.joined {
		f.dismiss(p, rank)
	}
	if l := f.links[rank]; l != nil {
		l.close()
		f.links[rank] = nil
	}
}

func (f *killField) dismiss(p *saverProcess, rank int) {
	p.joined = false
	p.orders.Encode(order{Do: "leave"})
	a, err := p.next(patience)
	if err != nil || a.Err != "" || a.Goroutines != "" {
		f.Errorf("process %d: leave: %v, %s; goroutines %s", rank, err, a.Err, a.Goroutines)
	}
}

// close ends the savers.
func (f *killField) close() {
	f.each(everySaver, func(rank int) {
		if f.all[rank] != nil && !f.Failed() {
			f.leave(rank)
		}
		if f.all[rank] != nil {
			f.all[rank].end()
		}
		if f.links[rank] != nil {
			f.links[rank].close()
		}
	})
}

// saveAll saves a new version without a disturbance, over what is there. It leaves nothing
// else in the directory and in etcd. It reports whether the error of the save is ErrBusy.
func (f *killField) saveAll() (busy bool) {
	f.join()
	if f.Failed() {
		return false
	}
	f.last++
	start := time.Now()
	var errs [savers]error
	f.each(everySaver, func(rank int) {
		p := f.all[rank]
		p.orders.Encode(order{Do: "save", Path: f.path, Version: f.last, Overwrite: true})
		a, err := p.next(2 * patience)
		if err == nil && a.Err != "" {
			err = errors.New(a.Err)
		}
		errs[rank] = err
	})
	if err := errors.Join(errs[:]...); err != nil {
		if strings.Contains(err.Error(), orbax.ErrBusy.Error()) {
			return true
		}
		f.Errorf("a save that nothing disturbs: %v", err)
		return false
	}
	f.usual = (3*f.usual + time.Since(start)) / 4
	f.version = f.last
	f.wantVersion(f.last)
	if left := f.left(); len(left) > 0 {
		f.Errorf("after the next save %q are left", left)
	}
	keys, err := f.client.Get(context.Background(), f.name+"/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		f.Errorf("%v", err)
		return false
	}
	for _, kv := range keys.Kvs {
		if !strings.HasPrefix(string(kv.Key), f.name+"/members/") {
			f.Errorf("after the next save the key %s is left", kv.Key)
		}
	}
	return false
}

// found returns the version of the checkpoint, 0 if there is none that is complete.
func (f *killField) found() (int, error) {
	got, err := orbax.Load(context.Background(), f.path)
	if errors.Is(err, orbax.ErrNotExist) || errors.Is(err, orbax.ErrIncomplete) {
		return 0, nil
	}
	if entries, derr := os.ReadDir(f.path); derr == nil && len(entries) == 0 {
		return 0, nil // a save by a marker makes the directory first
	}
	if err == nil {
		err = orbax.Verify(context.Background(), f.path)
	}
	if err != nil {
		return 0, err
	}
	state, _ := got.(map[string]any)
	version, _ := state["step"].(int)
	want, err := stateOf(version, nil)
	if err != nil {
		return 0, err
	}
	for name, w := range want {
		whole, isArray := w.(*array.Array)
		a, ok := state[name].(*array.Array)
		if isArray && (!ok || !a.Equal(whole)) {
			return 0, fmt.Errorf("%s is not that of version %d", name, version)
		}
	}
	return version, nil
}

func (f *killField) wantVersion(version int) {
	f.Helper()
	if got, err := f.found(); got != version || err != nil {
		f.Errorf("the checkpoint has version %d, %v; want %d", got, err, version)
	}
}

// left returns what is in the directory besides the checkpoint.
func (f *killField) left() (names []string) {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		f.Errorf("%v", err)
	}
	for _, e := range entries {
		if e.Name() != "ckpt" {
			names = append(names, e.Name())
		}
	}
	return names
}

// files returns the digests of the files of the checkpoint.
func (f *killField) files() map[string][32]byte {
	all := map[string][32]byte{}
	err := filepath.WalkDir(f.path, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		all[name] = sha256.Sum256(data)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.Errorf("%v", err)
	}
	return all
}
