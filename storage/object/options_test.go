package object_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/object"
)

// Options that have no meaning are an error of the first operation, and no panic or endless
// wait.
func TestOptions(t *testing.T) {
	for field, o := range map[string]object.Options{
		"Lease is -1ns":             {Lease: -1},
		"Lease is 1ns":              {Lease: 1},
		"Lease is 25h0m0s":          {Lease: 25 * time.Hour},
		"Lease is 2562047h":         {Lease: math.MaxInt64},
		"Patience is -1s":           {Patience: -time.Second},
		"Delay is -1s":              {Delay: -time.Second},
		"PartSize is -1":            {PartSize: -1},
		"Concurrency is -1":         {Concurrency: -1},
		"Concurrency is 9223372036": {Concurrency: math.MaxInt},
	} {
		s := newService(false)
		store := object.New(s, o)
		_, lerr := store.List(t.Context(), "")
		_, berr := store.Begin(t.Context(), ck, storage.BeginOptions{Marker: marker})
		_, oerr := store.Open(t.Context(), "x")
		for what, err := range map[string]error{"List": lerr, "Begin": berr, "Open": oerr} {
			if !errors.Is(err, fault.ErrUsage) || !strings.Contains(err.Error(), "object.Options: "+field) {
				t.Errorf("%s: %s: got %v", field, what, err)
			}
		}
		if keys := s.Keys(); len(keys) > 0 {
			t.Errorf("%s: there are %q", field, keys)
		}
	}
	for what, o := range map[string]object.Options{
		"the greatest": {Lease: 24 * time.Hour, Patience: math.MaxInt64, PartSize: math.MaxInt64, Concurrency: 4096},
		"the least":    {Lease: 100 * time.Millisecond, Patience: 1, PartSize: 1, Concurrency: 1},
	} {
		store := object.New(newService(false), o)
		if err := save(t.Context(), store, ck, newFiles, nil); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}
