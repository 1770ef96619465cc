package azure_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/orbaxtest"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/storage/cloud/azure"
	"github.com/go-orbax/orbax/storage/cloud/internal/servers"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/training"
)

// largeState returns a state with an array of several parts.
func largeState(step int) map[string]any {
	w := make([]float32, 5<<20)
	for i := range w {
		w[i] = float32(i%1000003) + float32(step)
	}
	return map[string]any{
		"params": map[string]any{"w": array.Of(w, 5<<10, 1<<10), "b": array.Of([]int64{1, 2, int64(step)})},
		"step":   step, "name": "azure",
	}
}

func smallState(step int) map[string]any {
	return map[string]any{"w": array.Of([]int64{1, 2, int64(step)}), "step": step}
}

// emulate makes azblob:// paths lead to the emulator, and returns that of a new container.
func emulate(t *testing.T) (url string, client *container.Client) {
	t.Helper()
	service, client := newContainer(t, nil)
	setenv(t, map[string]string{"AZURE_STORAGE_ACCOUNT": servers.AzureAccount, "AZURE_STORAGE_KEY": servers.AzureKey, "AZURE_STORAGE_SERVICE_ENDPOINT": service})
	return "azblob://" + nameOf(client), client
}

// A checkpoint of several parts is saved, overwritten, loaded and verified.
func TestCheckpoint(t *testing.T) {
	root, _ := emulate(t)
	for step := range 2 {
		if err := orbax.Save(t.Context(), root+"/large", largeState(step), orbax.Overwrite()); err != nil {
			t.Fatal(err)
		}
		got, err := orbax.Load(t.Context(), root+"/large")
		if err != nil {
			t.Fatal(err)
		}
		if d := orbaxtest.Difference(got, largeState(step)); d != "" {
			t.Error(d)
		}
	}
	if err := orbax.Verify(t.Context(), root+"/large"); err != nil {
		t.Error(err)
	}
}

// A run keeps the steps that its retention wants, and goes on from its newest step.
func TestTraining(t *testing.T) {
	root, client := emulate(t)
	ctx := t.Context()
	for from := 1; from < 7; from += 3 {
		c, err := training.New(ctx, root+"/run", training.Options{Preservation: training.LatestN{N: 2}})
		if err != nil {
			t.Fatal(err)
		}
		for step := from; step < from+3; step++ {
			if saved, err := c.Save(ctx, step, smallState(step), training.Force()); !saved || err != nil {
				t.Fatalf("step %d: %v, %v", step, saved, err)
			}
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	steps, err := training.Steps(ctx, root+"/run", training.ReadOptions{})
	if err != nil || len(steps) != 2 || steps[0].Step != 5 || steps[1].Step != 6 {
		t.Errorf("the steps are %v, %v", steps, err)
	}
	got, err := orbax.Load(ctx, root+"/run/6")
	if err != nil {
		t.Fatal(err)
	}
	if d := orbaxtest.Difference(got, smallState(6)); d != "" {
		t.Error(d)
	}
	if err := orbax.Verify(ctx, root+"/run/6"); err != nil {
		t.Error(err)
	}
	for pager := client.NewListBlobsFlatPager(nil); pager.More(); {
		r, err := pager.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range r.Segment.BlobItems {
			if !strings.HasPrefix(*x.Name, "run/5/") && !strings.HasPrefix(*x.Name, "run/6/") {
				t.Errorf("%s is left", *x.Name)
			}
		}
	}
}

// Of writers that save to one path at the same time, one wins.
func TestRace(t *testing.T) {
	root, _ := emulate(t)
	const writers = 6
	errs := make([]error, writers)
	var wait sync.WaitGroup
	for i := range errs {
		wait.Go(func() { errs[i] = orbax.Save(t.Context(), root+"/step", map[string]any{"writer": i}) })
	}
	wait.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner >= 0:
			t.Errorf("the writers %d and %d both won", winner, i)
		case err == nil:
			winner = i
		case !errors.Is(err, orbax.ErrBusy) && !errors.Is(err, orbax.ErrExist):
			t.Errorf("writer %d: %v", i, err)
		}
	}
	got, err := orbax.Load(t.Context(), root+"/step")
	if d := orbaxtest.Difference(got, map[string]any{"writer": winner}); err != nil || d != "" {
		t.Errorf("winner %d: %s, %v", winner, d, err)
	}
}

// A bit of a checkpoint that changes in the container is found, in whichever object it is.
func TestDamagedObjects(t *testing.T) {
	_, client := newContainer(t, nil)
	b := azure.New(client)
	in := orbax.In(object.New(b, object.Options{}))
	ctx := t.Context()
	if err := orbax.Save(ctx, "run/1", map[string]any{"w": array.Of([]float32{1, 2, 3}), "step": 7}, in); err != nil {
		t.Fatal(err)
	}
	page, err := b.List(ctx, object.ListOptions{Flat: true})
	if err != nil {
		t.Fatal(err)
	}
	put := func(key string, text []byte) {
		t.Helper()
		if _, err := b.Put(ctx, key, [][]byte{text}, object.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, o := range page.Objects {
		text := make([]byte, o.Size)
		if n, _, err := b.Get(ctx, o.Key, "", [][]byte{text}, 0); err != nil || int64(n) != o.Size {
			t.Fatal(n, err)
		}
		for at := 0; at < len(text); at += testenv.Pick(max(1, len(text)/100), max(1, len(text)/3)) {
			damaged := bytes.Clone(text)
			damaged[at] ^= 1 << (at % 8)
			put(o.Key, damaged)
			if err := orbax.Verify(ctx, "run/1", in); err == nil {
				t.Errorf("byte %d of %s is changed, and Verify finds nothing", at, o.Key)
			}
		}
		put(o.Key, text)
	}
	if err := orbax.Verify(ctx, "run/1", in); err != nil {
		t.Error(err)
	}
}

// The service refuses bytes that were damaged on their way.
func TestDamagedOnTheWay(t *testing.T) {
	b, c := counted(t)
	c.damage = true
	for name, do := range map[string]func() error{
		"Put": func() error {
			_, err := b.Put(t.Context(), "key", [][]byte{[]byte("value")}, object.PutOptions{})
			return err
		},
		"Part": func() error {
			u, err := b.Upload(t.Context(), "key", 5, object.PutOptions{})
			if err != nil {
				return err
			}
			return u.Part(t.Context(), 1, 0, [][]byte{[]byte("value")})
		},
	} {
		var e *object.Error
		if err := do(); !errors.As(err, &e) || !e.Temporary || e.Code != "Crc64Mismatch" {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// The error for a container that does not exist names it, and what to do.
func TestMissingContainer(t *testing.T) {
	root, _ := emulate(t)
	path := root + "none/run/1"
	for name, do := range map[string]func(context.Context) error{
		"Save":   func(ctx context.Context) error { return orbax.Save(ctx, path, state()) },
		"Load":   func(ctx context.Context) error { _, err := orbax.Load(ctx, path); return err },
		"Verify": func(ctx context.Context) error { return orbax.Verify(ctx, path) },
		"Delete": func(ctx context.Context) error { return orbax.Delete(ctx, path) },
	} {
		if err := do(t.Context()); err == nil || !strings.Contains(err.Error(), "there is no container "+root[len("azblob://"):]+"none in the account orbaxtest; make it with") {
			t.Errorf("%s: got the error %v", name, err)
		}
	}
}
