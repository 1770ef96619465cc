package training_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/storage/object/membucket"
	"github.com/go-orbax/orbax/training"
)

// slowMirror is a mirror in a bucket that takes 25 ms for each request.
func slowMirror() training.Mirror {
	b := &failstore.Bucket{Bucket: membucket.New(), Delay: 25 * time.Millisecond}
	return training.Mirror{Root: "run", Store: object.New(b, object.Options{}), Preservation: training.LatestN{N: 2}, Patience: -1}
}

// BenchmarkBlocked measures how long a loop waits for a save, with and without a mirror.
func BenchmarkBlocked(b *testing.B) {
	for name, mirror := range map[string]training.Mirror{"alone": {}, "mirror": slowMirror()} {
		for _, kind := range []string{"Save", "SaveAsync"} {
			b.Run(name+"/"+kind, func(b *testing.B) {
				c, err := training.New(b.Context(), filepath.Join(b.TempDir(), "run"), training.Options{
					SaveDecision: training.FixedIntervalPolicy{Interval: 1}, Preservation: training.LatestN{N: 2}, Mirror: mirror,
				})
				if err != nil {
					b.Fatal(err)
				}
				defer c.Close()
				state := stateOf(0)
				blocked, longest := time.Duration(0), time.Duration(0)
				latest, _ := c.Latest()
				for n := range b.N {
					state.W[0] = int32(n)
					start := time.Now()
					if kind == "Save" {
						_, err = c.Save(b.Context(), latest.Step+n+1, state)
					} else {
						_, err = c.SaveAsync(b.Context(), latest.Step+n+1, state)
					}
					if err != nil {
						b.Fatal(err)
					}
					took := time.Since(start)
					blocked, longest = blocked+took, max(longest, took)
					if err := c.Wait(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(blocked.Microseconds())/1000/float64(b.N), "ms-blocked/step")
				b.ReportMetric(float64(longest.Microseconds())/1000, "ms-blocked-most")
			})
		}
	}
}
