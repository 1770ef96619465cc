package proof

import (
	"context"
	"errors"
	"io/fs"

	"github.com/go-orbax/orbax/storage"
)

// RemoveLeft removes the remains of dead writers of a directory, if the store knows that they are
// dead and the remains consist of nothing else. Its error is about remains that it could
// not remove. Such remains only take room.
func RemoveLeft(ctx context.Context, at storage.Location) error {
	left, err := at.Store.Left(ctx, at.Name)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range left {
		edit, err := at.Store.Edit(ctx, name)
		if err == nil {
			err = errors.Join(edit.RemoveAll(ctx, Temporary(at.Store)), edit.Close())
		}
		if !errors.Is(err, fs.ErrNotExist) { // another process was faster
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
