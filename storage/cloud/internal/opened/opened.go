// Package opened keeps one store for each bucket that a program opens by its URL. All that
// use the bucket share the bound of its requests, and two paths in it have the same store,
// however they are written.
package opened

import (
	"sync"

	"github.com/go-orbax/orbax/storage/object"
)

// mostStores is how many stores are kept. A program whose URLs have ever new credentials
// would otherwise keep the stores of the old ones.
const mostStores = 1000

// Stores are the stores of a cloud, by their keys. A key has all in which two stores can
// differ: the address of the service, the bucket, and the credentials. The zero value is
// ready for use. Several goroutines may use it.
type Stores[K comparable] struct {
	mu   sync.Mutex
	made map[K]*object.Store
}

// Get returns the store with a key. It makes one over the result of bucket if there is none.
func (s *Stores[K]) Get(key K, bucket func() (object.Bucket, error)) (*object.Store, error) {
	if store := s.find(key, nil); store != nil {
		return store, nil
	}
	b, err := bucket() // may take long, so that others do not wait for it
	if err != nil {
		return nil, err
	}
	return s.find(key, object.New(b, object.Options{})), nil
}

// find returns the store with a key, or keeps fresh as that, if it is not nil.
func (s *Stores[K]) find(key K, fresh *object.Store) *object.Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	if store := s.made[key]; store != nil || fresh == nil {
		return store
	}
	if s.made == nil || len(s.made) >= mostStores {
		s.made = map[K]*object.Store{}
	}
	s.made[key] = fresh
	return fresh
}
