package orbax_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/storage/object/membucket"
)

// requests is a store over a bucket that counts the requests.
type requests struct {
	*testing.T
	bucket *failstore.Bucket
	store  storage.Store
}

func newRequests(t *testing.T) *requests {
	b := &failstore.Bucket{Bucket: membucket.New(), Delay: time.Millisecond}
	return &requests{t, b, object.New(b, object.Options{})}
}

// most fails the test if the requests since the last call are more than most, or if more
// than rounds of them went one after the other.
func (r *requests) most(what string, err error, most, rounds int) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
	made := r.bucket.Take()
	// A writer looks at its claim before it makes a file, at most once a second.
	made.All = slices.DeleteFunc(made.All, func(q string) bool { return strings.HasPrefix(q, "Stat ") && strings.Contains(q, storage.TempMarker) })
	r.Logf("%s: %d requests, %d one after the other", what, len(made.All), made.Rounds)
	if len(made.All) > most || made.Rounds > rounds {
		r.Errorf("%s: want at most %d requests, %d one after the other; got %v", what, most, rounds, made)
	}
}

// Opening a checkpoint in an object store, and reading a leaf, takes few requests.
func TestRequestsOfOpening(t *testing.T) {
	ctx, r := t.Context(), newRequests(t)
	in := orbax.In(r.store)
	state := map[string]any{"step": 7, "name": "run", "small": []float32{1, 2, 3}, "kernel": make([]float32, 100_000)}
	r.most("save", orbax.Save(ctx, "run/ck", state, in), 20, 17)

	for leaf, most := range map[string]int{"step": 2, "small": 2, "kernel": 3} {
		ck, err := orbax.Open(ctx, "run/ck", in)
		if err != nil {
			t.Fatal(err)
		}
		tree, err := ck.Tree(ctx)
		if err != nil {
			t.Fatal(err)
		}
		l, _ := tree.Leaf(leaf)
		_, err = l.Load(ctx)
		r.most("opening and reading "+leaf, err, most, most)
	}
	_, err := orbax.Load(ctx, "run/ck", in)
	r.most("load", err, 3, 3)
	_, err = orbax.Metadata(ctx, "run/ck", in)
	r.most("metadata", err, 2, 2)
	_, err = orbax.IsCheckpoint(ctx, "run/ck", in)
	r.most("is it a checkpoint", err, 2, 2)

	r.most("delete", orbax.Delete(ctx, "run/ck", in), 42, 23)

	many := map[string]any{}
	for i := range 2000 {
		many[fmt.Sprint("layer_", i)] = []float32{float32(i), 1, 2, 3}
	}
	r.most("save of 2,000 leaves", orbax.Save(ctx, "run/many", many, in), 20, 17)
	_, err = orbax.Metadata(ctx, "run/many", in)
	r.most("metadata of 2,000 leaves", err, 5, 5)
}

// A save and a load of a large state move it in pieces of 8 MiB or more.
func TestRequestsOfData(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes 512 MB")
	}
	const size = 256 << 20
	one := map[string]any{"w": make([]float32, size/4)}
	states := map[string]map[string]any{"one array": one}
	if testenv.Long() {
		several := map[string]any{}
		for i := range 100 {
			several[fmt.Sprint("w", i)] = make([]float32, size/100/4)
		}
		states["100 arrays"] = several
	}
	for what, state := range states {
		t.Run(what, func(t *testing.T) {
			ctx, r := t.Context(), newRequests(t)
			in := orbax.In(r.store)
			r.most("save", orbax.Save(ctx, "ck", state, in), 50, 50)
			_, err := orbax.Load(ctx, "ck", in)
			r.most("load", err, 60, 60)
		})
	}
}
