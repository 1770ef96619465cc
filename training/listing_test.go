package training

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/exchanged"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// The list of steps is the same in another process, except that its errors are only of the
// same classes. An older list changes nothing. Ten thousand steps fit in a value of etcd.
func TestListing(t *testing.T) {
	root := &root{at: storage.At(nil, "run"), name: "run"}
	var from, to steps
	from.init(root)
	to.init(root)
	from.entries = map[string]string{}
	for i := range 10_000 {
		entry := fmt.Sprint("step_", i)
		step := Step{Step: i, Path: root.path(entry), Time: time.Unix(1e9, int64(i)*37e9+int64(i)).UTC(), Metrics: map[string]any{"loss": math.Exp(-float64(i)), "n": i}}
		if i == 5 {
			step.Err = fmt.Errorf("a leaf: %w", fault.ErrCorrupt)
			step.Metrics = []any{math.Inf(1), "text", 1e300, 1e15, 1e21, 9e20, -3.0, 1 << 60, nil, true, 0.1}
		}
		from.listed, from.entries[step.Path] = append(from.listed, step), entry
	}
	from.ignored = []Ignored{{root.path("logs"), errNoStepName}}
	from.entries["run/logs"] = "logs"
	doc := exchanged.Encode(from.listing())
	if len(doc) > 1<<19 {
		t.Errorf("10000 steps take %d bytes", len(doc))
	}
	l, err := exchanged.Decode[listing](doc)
	if err != nil {
		t.Fatal(err)
	}
	to.adopt(l)
	for i, got := range to.all() {
		want := from.listed[i]
		if i == 5 && (got.Err == nil || got.Err.Error() != want.Err.Error() || !errors.Is(got.Err, orbax.ErrCorrupt)) {
			t.Errorf("the error is %v", got.Err)
		}
		want.Err, got.Err = nil, nil
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
	if other := to.others(); len(to.all()) != 10_000 || len(other) != 1 || other[0].Path != "run/logs" || !errors.Is(other[0].Err, orbax.ErrInvalidCheckpoint) {
		t.Errorf("%d steps, ignored %v", len(to.all()), other)
	}
	from.listed = nil
	newer := from.listing()
	to.adopt(newer)
	to.adopt(l)
	if _, err := to.find(LatestStep); len(to.all()) != 0 || !errors.Is(err, orbax.ErrNotExist) {
		t.Errorf("%d steps, %v", len(to.all()), err)
	}
	for _, doc := range []string{`"AA"`, `{}`, `""`} {
		if _, err := exchanged.Decode[listing]([]byte(doc)); !errors.Is(err, orbax.ErrCorrupt) {
			t.Errorf("%s: %v", doc, err)
		}
	}
}
