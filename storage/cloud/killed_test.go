package cloud_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/inspect"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/storage/cloud/internal/servers"
	"github.com/go-orbax/orbax/storage/object"
)

// shortLease lets the path of a killed process be free soon. No request of it is under way for
// long in a network of one machine.
var shortLease = object.Options{Lease: time.Second, Patience: 20 * time.Second, Delay: 500 * time.Millisecond}

// killedJob saves and deletes at a path until it is killed. Before each operation it prints
// what will be at the path, and after it that it is done.
func killedJob(arg string) {
	args := strings.Fields(arg) // cloud, address, bucket, path, the first seed
	store := childStore(args)
	in, path := orbax.In(store), args[3]
	first, _ := strconv.Atoi(args[4])
	for seed := first; ; seed++ {
		will := seed
		if rand.IntN(4) == 0 {
			will = 0
		}
		fmt.Println("will", will)
		var err error
		for err = orbax.ErrBusy; errors.Is(err, orbax.ErrBusy); time.Sleep(50 * time.Millisecond) {
			if will == 0 {
				err = orbax.Delete(context.Background(), path, in)
			} else {
				err = orbax.Save(context.Background(), path, stateOf(seed), in, orbax.Overwrite())
			}
		}
		if err != nil && strings.Contains(err.Error(), "the claim of this writer was lost") {
			continue // on a busy machine: the next operation finds what this one has left
		}
		if err != nil && !(will == 0 && errors.Is(err, orbax.ErrNotExist)) {
			fmt.Println("failed", err)
			return
		}
		fmt.Println("done", will)
	}
}

// childStore returns the store of a child process: of a cloud, an address and a bucket.
func childStore(args []string) *object.Store { return childStoreWith(args, shortLease) }

func childStoreWith(args []string, o object.Options) *object.Store {
	i := slices.IndexFunc(clouds, func(c cloud) bool { return c.name == args[0] })
	return object.New(clouds[i].open(childTB{}, args[1], args[2]), o)
}

// childTB is the testing.TB of a child process.
type childTB struct{ testing.TB }

func (childTB) Helper() {}

func (childTB) Fatal(args ...any) {
	fmt.Println(append([]any{"failed"}, args...)...)
	os.Exit(1)
}

// A process that is killed at any moment, behind a bad network too, leaves the old or the
// new checkpoint, or an incomplete one that the next writer heals. Nothing is left at the
// end.
func TestKilled(t *testing.T) {
	exe, err := os.Executable()
	must(t, err)
	for _, c := range clouds {
		t.Run(c.name, func(t *testing.T) {
			addr := c.start(t)
			bucket := c.newBucket(t, addr)
			network := &servers.Faults{Busy: c.busy}
			bad := network.Start(t, addr)
			network.Set(15)
			good := object.New(c.open(t, addr, bucket), shortLease)
			kills := often(50, 12, 1) // of each of the paths
			paths := testenv.Pick([]string{"run/1", "run/2", "run/3", "run/4"}, []string{"run/1", "run/2"})
			var group sync.WaitGroup
			for _, path := range paths {
				group.Go(func() {
					m := &model{t: t, path: path, good: good, may: map[int]bool{0: true}}
					for kill := 0; kill < kills && !t.Failed(); kill++ {
						cmd := exec.CommandContext(t.Context(), exe)
						testenv.SetChild(cmd, "killed", strings.Join([]string{c.name, bad, bucket, path, strconv.Itoa(kill*1000 + 1)}, " "))
						m.kill(cmd)
						m.look(t.Context())
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

// kill runs a child until a random moment.
func (m *model) kill(cmd *exec.Cmd) {
	out, err := cmd.StdoutPipe()
	must(m.t, err)
	cmd.Stderr = os.Stderr
	must(m.t, cmd.Start())
	defer cmd.Wait()
	defer cmd.Process.Kill()
	begun := false
	for scan := bufio.NewScanner(out); scan.Scan(); {
		word, rest, _ := strings.Cut(scan.Text(), " ")
		seed, _ := strconv.Atoi(rest)
		switch word {
		case "will":
			m.mayBe(seed)
		case "done":
			m.may, m.when, m.unsure = map[int]bool{seed: true}, nil, false
		default:
			m.t.Errorf("%s: the child: %s", m.path, scan.Text())
			return
		}
		if !begun { // what a killed process has left may have to expire first
			begun = true
			time.AfterFunc(time.Duration(rand.Int64N(int64(5*time.Second))), func() { cmd.Process.Kill() })
		}
	}
}

// collect removes or finishes what dead writers have left in a bucket, as orbax gc does.
func collect(t *testing.T, b object.Bucket) {
	t.Helper()
	in := inspect.Inspector{Store: object.New(b, shortLease)}
	for again := true; again; { // until the last claims have expired
		r, err := in.Remains(t.Context(), ".", true)
		must(t, errors.Join(err, r.Err))
		again = false
		for _, m := range r.Remains {
			again = again || m.State == inspect.RemainLive
			if m.State != inspect.RemainLive && !m.Removed {
				t.Errorf("gc leaves %s: %s, %s", m.Path, m.State, m.What)
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// wantNothing deletes what is at paths, and fails the test if anything is left in the
// bucket then, or if anything else was left before.
func wantNothing(t *testing.T, c cloud, addr, bucket string, paths []string) {
	t.Helper()
	b := c.open(t, addr, bucket)
	collect(t, b)
	var there []string
	for _, path := range paths {
		if _, err := b.Stat(t.Context(), path+"/"+object.Marker); err == nil {
			there = append(there, path)
		}
	}
	wantKeys(t, b, there...)
	good := object.New(b, shortLease)
	for _, path := range paths {
		var err error
		for err = orbax.ErrBusy; errors.Is(err, orbax.ErrBusy); time.Sleep(100 * time.Millisecond) {
			err = orbax.Save(t.Context(), path, stateOf(1), orbax.In(good), orbax.Overwrite())
		}
		must(t, err)
		must(t, orbax.Delete(t.Context(), path, orbax.In(good)))
	}
	page, err := b.List(t.Context(), object.ListOptions{Flat: true})
	must(t, err)
	for _, o := range page.Objects {
		t.Errorf("%s is left", o.Key)
	}
}
