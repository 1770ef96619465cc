package proof

import (
	"context"
	"errors"

	"github.com/go-orbax/orbax/storage"
)

// RemoveLeft removes the remains of dead writers of dir, if the store knows that they are
// dead and the remains consist of nothing else. Its error is about remains that it could
// not remove. Such remains only take room.
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
