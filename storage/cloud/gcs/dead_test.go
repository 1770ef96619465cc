package gcs_test

import (
	"errors"
	"fmt"
	"net/http"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/orbaxtest"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/cloud/gcs"
	"github.com/go-orbax/orbax/storage/cloud/internal/servers"
	"github.com/go-orbax/orbax/storage/object"
)

// dying fails each request after a number of them, as if its process had died.
type dying struct{ left atomic.Int64 }

func (d *dying) RoundTrip(r *http.Request) (*http.Response, error) {
	if d.left.Add(-1) < 0 {
		return nil, errors.New("this process is dead")
	}
	return http.DefaultTransport.RoundTrip(r)
}

// TestDeadWriter lets a writer die at any request of a save. Nothing of it is left once
// another one has saved, neither part objects nor claims.
func TestDeadWriter(t *testing.T) {
	addr := servers.GCS.Shared(t)
	b := newBucket(t, nil)
	bucket := fmt.Sprintf("test-%d", made.Load())
	store := object.New(b, object.Options{})
	small := func(step int) map[string]any {
		w := make([]float32, 1<<19)
		for i := range w {
			w[i] = float32(i + step)
		}
		return map[string]any{"w": array.Of(w), "step": step}
	}
	var wait sync.WaitGroup
	var left atomic.Int64
	for n := 0; n < 40; n += testenv.Pick(1, 7) {
		wait.Go(func() {
			d := &dying{}
			d.left.Store(int64(n))
			dead, err := gcs.New(&http.Client{Transport: d}, bucket, gcs.Options{Endpoint: "http://" + addr})
			if err != nil {
				t.Error(err)
				return
			}
			name := fmt.Sprintf("run/%d", n)
			options := object.Options{Lease: 2 * time.Second, Patience: 50 * time.Millisecond, PartSize: 256 << 10}
			saved := orbax.Save(t.Context(), name, small(1), orbax.In(object.New(dead, options)))
			for _, key := range keys(t, b) {
				if strings.HasPrefix(key, name+"/") && strings.HasPrefix(path.Base(key), "orbax-part-") {
					left.Add(1)
				}
			}
			again := orbax.ErrBusy
			for end := time.Now().Add(time.Minute); errors.Is(again, orbax.ErrBusy) && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
				again = orbax.Save(t.Context(), name, small(2), orbax.In(store))
			}
			published := saved == nil || errors.Is(saved, orbax.ErrInPlace)
			want := 2
			switch {
			case again == nil && !published:
			case errors.Is(again, orbax.ErrExist) && (published || d.left.Load() < 0): // the answer to its last act may have been lost
				want = 1
			default:
				t.Errorf("after %d requests: %v; then another save: %v", n, saved, again)
			}
			got, err := orbax.Load(t.Context(), name, orbax.In(store))
			if err != nil {
				t.Errorf("after %d requests: %v", n, err)
			} else if d := orbaxtest.Difference(got, small(want)); d != "" {
				t.Errorf("after %d requests: %s", n, d)
			}
		})
		if n%8 == 7 {
			wait.Wait()
		}
	}
	wait.Wait()
	for _, key := range keys(t, b) {
		if strings.Contains(key, storage.TempMarker) || strings.Contains(key, "orbax-part-") {
			t.Errorf("%s is left", key)
		}
	}
	if left.Load() == 0 {
		t.Error("no writer has died with parts: the test does not test them")
	}
}
