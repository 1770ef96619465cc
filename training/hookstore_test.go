package training_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-orbax/orbax/storage"
)

// hooks are called by a store that is otherwise the local disk: what somebody else
// does in the middle of an operation.
type hooks struct {
	listed func(dir string)  // after a directory was read, before its entries are looked at
	open   func(name string) // before a file is opened
	edit   func(dir string)  // before a directory is claimed
	stat   func(name string) // before something is looked at
	// fail returns the error with which a look at a file or directory fails.
	fail func(name string) error
}

var (
	hooked      sync.Map
	hookedCount atomic.Int64
)

func init() {
	storage.Register("hooks", func(_ context.Context, u *url.URL) (storage.Store, string, error) {
		url := u.Scheme + "://" + u.Host + u.Path
		id, name, _ := strings.Cut(strings.TrimPrefix(url, "hooks://"), "/")
		h, ok := hooked.Load(id)
		if !ok {
			return nil, "", fmt.Errorf("no hooks %s", id)
		}
		at, err := storage.Resolve(context.Background(), "/"+name)
		return hookedStore{at.Store, h.(*hooks)}, at.Name, err
	})
}

// over returns the path through which h is called for what is done at an absolute
// path.
func (h *hooks) over(t testing.TB, name string) string {
	id := strconv.FormatInt(hookedCount.Add(1), 10)
	hooked.Store(id, h)
	t.Cleanup(func() { hooked.Delete(id) })
	return "hooks://" + id + filepath.ToSlash(name)
}

type hookedStore struct {
	storage.Store
	*hooks
}

func (s hookedStore) Stat(ctx context.Context, name string) (storage.Info, error) {
	if s.hooks.stat != nil {
		s.hooks.stat(name)
	}
	if err := s.failure(name); err != nil {
		return storage.Info{}, err
	}
	return s.Store.Stat(ctx, name)
}

func (s hookedStore) Open(ctx context.Context, name string) (storage.Reader, error) {
	if s.hooks.open != nil {
		s.hooks.open(name)
	}
	return s.Store.Open(ctx, name)
}

func (s hookedStore) List(ctx context.Context, dir string) ([]storage.Info, error) {
	if err := s.failure(dir); err != nil {
		return nil, err
	}
	before, err := s.Store.List(ctx, dir)
	if s.hooks.listed == nil || err != nil {
		return before, err
	}
	s.hooks.listed(dir)
	var still []storage.Info // what is gone is left out, as the local disk does
	for _, e := range before {
		if _, err := s.Store.Stat(ctx, dir+"/"+e.Name); err == nil {
			still = append(still, e)
		}
	}
	return still, nil
}

// Entries fails, so that storage.Entries lists, and calls the hooks.
func (s hookedStore) Entries(context.Context, string) ([]storage.Entry, error) {
	return nil, errors.ErrUnsupported
}

// Confined keeps the hooks.
func (s hookedStore) Confined(string, bool) storage.Store { return nil }

func (s hookedStore) Edit(ctx context.Context, dir string) (storage.Edit, error) {
	if s.hooks.edit != nil {
		s.hooks.edit(dir)
	}
	return s.Store.Edit(ctx, dir)
}

func (h *hooks) failure(name string) error {
	if h.fail == nil {
		return nil
	}
	return h.fail(name)
}
