package object_test

import (
	"testing"
	"time"

	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/storage/object/membucket"
	"github.com/go-orbax/orbax/storage/storetest"
)

func TestContract(t *testing.T) {
	for name, b := range map[string]*membucket.Bucket{"parts": {Small: true}, "whole": {}, "weak": {Small: true, Weak: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := object.Options{Lease: 3 * time.Second, Delay: time.Millisecond}
			if b.Small {
				o.PartSize = 64
			}
			var options []storetest.Option
			if b.Weak {
				options = append(options, storetest.VersionOfBytes)
			}
			storetest.Run(t, func(t *testing.T) (storage.Store, string) { return object.New(b, o), t.Name() }, options...)
		})
	}
}
