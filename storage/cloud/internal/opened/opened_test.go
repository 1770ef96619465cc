package opened_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/go-orbax/orbax/storage/cloud/internal/opened"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/storage/object/membucket"
)

func bucket() (object.Bucket, error) { return membucket.New(), nil }

// All that open a bucket at the same time get one store, and those of another key another.
func TestOneStore(t *testing.T) {
	var s opened.Stores[string]
	got := make([]*object.Store, 20)
	var group sync.WaitGroup
	for i := range got {
		group.Go(func() { got[i], _ = s.Get("a", bucket) })
	}
	group.Wait()
	for _, store := range got {
		if store == nil || store != got[0] {
			t.Fatalf("there are the stores %p and %p", got[0], store)
		}
	}
	if other, err := s.Get("b", bucket); err != nil || other == got[0] {
		t.Errorf("another key: %p, %v", other, err)
	}
}

// A bucket that cannot be opened is tried again.
func TestFailure(t *testing.T) {
	var s opened.Stores[string]
	boom := errors.New("boom")
	if store, err := s.Get("a", func() (object.Bucket, error) { return nil, boom }); store != nil || !errors.Is(err, boom) {
		t.Errorf("got %p, %v", store, err)
	}
	if store, err := s.Get("a", bucket); store == nil || err != nil {
		t.Errorf("after a failure: %p, %v", store, err)
	}
}

// Stores of ever new keys are not kept for ever.
func TestManyStores(t *testing.T) {
	var s opened.Stores[int]
	first, err := s.Get(0, bucket)
	if err != nil {
		t.Fatal(err)
	}
	for key := range 1500 {
		if _, err := s.Get(key, bucket); err != nil {
			t.Fatal(err)
		}
	}
	if again, err := s.Get(0, bucket); err != nil || again == first {
		t.Errorf("the first of many stores is still there, %v", err)
	}
}
