package training_test

import (
	"context"
	"errors"
	"time"

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
	// noTimes makes it a store that does not know when anything was changed.
	noTimes bool
}

// store returns the store that calls h.
func (h *hooks) store() storage.Store { return hookedStore{storage.Local(), h} }

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
	info, err := s.Store.Stat(ctx, name)
	return s.described(info), err
}

func (s hookedStore) described(info storage.Info) storage.Info {
	if s.hooks.noTimes {
		info.ModTime = time.Time{}
	}
	return info
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
	for i := range before {
		before[i] = s.described(before[i])
	}
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

func (hookedStore) Snapshot(context.Context, string) (storage.Store, error) { return nil, nil }

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
