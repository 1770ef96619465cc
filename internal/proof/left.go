package proof

import (
	"context"
	"errors"

	"github.com/go-orbax/orbax/storage"
)

// RemoveLeft removes what writers of dir have left that died, where the store knows
// that they did, and what they left is nothing but that. The error is of those that
// cannot be removed; that they are there is in the way of nothing but room.
func RemoveLeft(ctx context.Context, store storage.Store, dir string) error {
	left, err := store.Left(ctx, dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range left {
		edit, err := store.Edit(ctx, name)
		if err == nil {
			err = errors.Join(edit.RemoveAll(ctx, Temporary(store)), edit.Close())
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
