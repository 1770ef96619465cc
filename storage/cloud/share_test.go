package cloud_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/storage/cloud/internal/servers"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/training"
)

// partlyFrozen returns a state of which 6 MiB do not change from step to step, and 1 MiB does.
func partlyFrozen(step int) map[string]any {
	frozen, changing := make([]int64, 3<<18), make([]int64, 1<<17)
	for i := range frozen {
		frozen[i] = int64(i) * 0x9E3779B9
	}
	for i := range changing {
		changing[i] = int64(i) * int64(step+1)
	}
	return map[string]any{"frozen": array.Of(frozen, len(frozen)), "changing": array.Of(changing, len(changing)), "step": step}
}

// isStep returns an error unless a step of a run is whole and has the state of the step.
func isStep(ctx context.Context, store *object.Store, step int) error {
	at := fmt.Sprint("run/", step)
	got, err := orbax.Load(ctx, at, orbax.In(store))
	if err != nil {
		return err
	}
	m, want := got.(map[string]any), partlyFrozen(step)
	for _, name := range []string{"frozen", "changing"} {
		if !m[name].(*array.Array).Equal(want[name].(*array.Array)) {
			return fmt.Errorf("step %d: %s is another", step, name)
		}
	}
	if m["step"] != step {
		return fmt.Errorf("step %d has the state of step %v", step, m["step"])
	}
	return orbax.Verify(ctx, at, orbax.In(store))
}

// sharedBucket counts the bytes that are sent and the data files that are copied.
type sharedBucket struct {
	object.Bucket
	sent, copies atomic.Int64
	// copying, if not nil, is called for each copy of a data file. do makes it.
	copying func(from string, do func() error) error
}

func (b *sharedBucket) add(body [][]byte) {
	for _, p := range body {
		b.sent.Add(int64(len(p)))
	}
}

func (b *sharedBucket) Put(ctx context.Context, key string, body [][]byte, o object.PutOptions) (object.Info, error) {
	b.add(body)
	return b.Bucket.Put(ctx, key, body, o)
}

func (b *sharedBucket) Copy(ctx context.Context, from object.Ref, to string, o object.PutOptions) (info object.Info, err error) {
	do := func() error {
		info, err = b.Bucket.Copy(ctx, from, to, o)
		return err
	}
	if path.Base(path.Dir(to)) != "d" {
		return info, do()
	}
	b.copies.Add(1)
	if b.copying != nil {
		return info, b.copying(from.Key, do)
	}
	return info, do()
}

func (b *sharedBucket) Upload(ctx context.Context, key string, size int64, o object.PutOptions) (object.Upload, error) {
	u, err := b.Bucket.Upload(ctx, key, size, o)
	if err != nil {
		return nil, err
	}
	return &sharedUpload{u, b}, nil
}

type sharedUpload struct {
	object.Upload
	b *sharedBucket
}

func (u *sharedUpload) Part(ctx context.Context, number int, off int64, body [][]byte) error {
	u.b.add(body)
	return u.Upload.Part(ctx, number, off, body)
}

// A step has copies of the data files of the step before, which the service makes. They
// outlive it. If the step before goes in the middle of the save, or the service does not
// answer, the save writes them.
func TestSharing(t *testing.T) {
	onEach(t, func(t *testing.T, bucket object.Bucket, _ *object.Store) {
		ctx := t.Context()
		b := &sharedBucket{Bucket: bucket}
		store := object.New(b, object.Options{})
		c, err := training.New(ctx, "run", training.Options{Store: store, Preservation: training.LatestN{N: 1}, Sharing: training.Sharing{FreshEvery: 100}})
		must(t, err)
		defer c.Close()
		lost := &object.Error{Op: "copy", Message: "the answer is lost", Temporary: true}
		n := 0
		for step, s := range []struct {
			what    string
			copying func(from string, do func() error) error
			shares  bool
		}{
			{"the first step", nil, false},
			{"the second step", nil, true},
			{"the answer is lost", func(_ string, do func() error) error {
				err := do()
				if n++; n == 1 {
					err = errors.Join(err, lost)
				}
				return err
			}, true},
			{"the file goes before it is copied", func(from string, do func() error) error {
				return errors.Join(bucket.Delete(context.Background(), []object.Ref{{Key: from}}), do())
			}, false},
			{"a step after that", nil, true},
			{"the file is replaced before it is copied", func(from string, do func() error) error {
				_, err := bucket.Put(context.Background(), from, [][]byte{make([]byte, 8<<20)}, object.PutOptions{})
				return errors.Join(err, do())
			}, false},
			{"the last step", nil, true},
		} {
			b.sent.Store(0)
			b.copies.Store(0)
			b.copying = s.copying
			_, err := c.Save(ctx, step, partlyFrozen(step))
			must(t, err)
			must(t, c.Wait(ctx))
			sent, copies := b.sent.Load(), b.copies.Load()
			t.Logf("%s: %d bytes are sent, and %d requests to copy", s.what, sent, copies)
			if shares := sent < 2<<20; shares != s.shares || shares && copies == 0 {
				t.Errorf("%s: %d bytes are sent with %d copies; it shares the step before: want %v", s.what, sent, copies, s.shares)
			}
			if err := isStep(ctx, store, step); err != nil {
				t.Error(err)
			}
		}
		must(t, c.Close())
		wantKeys(t, bucket, "run/6")
	})
}

// sharingLease is long enough for a server that is busy with the bytes of a step.
var sharingLease = object.Options{Lease: 3 * time.Second, Patience: 20 * time.Second}

// sharingJob saves steps that share until it is killed.
func sharingJob(arg string) {
	args := strings.Fields(arg) // cloud, address, bucket
	ctx, store := context.Background(), childStoreWith(args, sharingLease)
	c, err := training.New(ctx, "run", training.Options{Store: store, Preservation: training.LatestN{N: 2}})
	for step := 0; err == nil; {
		var state map[string]any
		if step == 0 {
			if step, err = c.Resume(ctx, &state); errors.Is(err, orbax.ErrNotExist) {
				step, err = 0, nil
			}
			step++
			continue
		}
		fmt.Println("will", step)
		// On a busy machine a writer may lose its claim.
		for err = orbax.ErrBusy; errors.Is(err, orbax.ErrBusy) || errors.Is(err, orbax.ErrNotExist); time.Sleep(50 * time.Millisecond) {
			_, err = c.Save(ctx, step, partlyFrozen(step))
		}
		fmt.Println("done", step)
		step++
	}
	fmt.Println("failed", err)
	os.Exit(1)
}

// A process that is killed while it saves steps that share leaves whole steps, and nothing
// else that the next processes do not clean.
func TestSharingKilled(t *testing.T) {
	exe, err := os.Executable()
	must(t, err)
	for _, c := range clouds {
		t.Run(c.name, func(t *testing.T) {
			addr := c.start(t)
			bucket := c.newBucket(t, addr)
			network := &servers.Faults{Busy: c.busy}
			bad := network.Start(t, addr)
			network.Set(5)
			b := c.open(t, addr, bucket)
			good := object.New(b, sharingLease)
			for kill := range often(20, 5, 2) {
				cmd := exec.CommandContext(t.Context(), exe)
				testenv.SetChild(cmd, "sharing", strings.Join([]string{c.name, bad, bucket}, " "))
				m := &model{t: t, path: "run", may: map[int]bool{}}
				m.kill(cmd)
				steps, err := training.Steps(t.Context(), "run", training.ReadOptions{Store: good})
				if err != nil && !errors.Is(err, orbax.ErrNotExist) {
					t.Fatal(err)
				}
				for _, s := range steps {
					if err := isStep(t.Context(), good, s.Step); err != nil {
						t.Fatalf("after kill %d: %v", kill, err)
					}
				}
			}
			t.Log(network.Counts())
			collect(t, b) // before the steps are listed: it finishes one that is decided
			var names []string
			steps, err := training.Steps(t.Context(), "run", training.ReadOptions{Store: good})
			if err != nil && !errors.Is(err, orbax.ErrNotExist) { // it may have been killed in the first save
				t.Fatal(err)
			}
			for _, s := range steps {
				if err := isStep(t.Context(), good, s.Step); err != nil {
					t.Errorf("in the end: %v", err)
				}
				names = append(names, "run/"+strconv.Itoa(s.Step))
			}
			t.Logf("the steps %q", names)
			wantKeys(t, b, names...)
			names = nil
			last, err := training.New(t.Context(), "run", training.Options{Store: good, Preservation: training.LatestN{N: 1}})
			must(t, err)
			_, err = last.Save(t.Context(), 1_000_000, partlyFrozen(1_000_000))
			must(t, err)
			must(t, last.Close())
			for _, s := range last.Checkpoints() {
				names = append(names, "run/"+strconv.Itoa(s.Step))
			}
			wantKeys(t, b, names...)
		})
	}
}
