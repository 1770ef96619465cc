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
		errs = append(errs, Clean(ctx, storage.At(at.Store, name)))
	}
	return errors.Join(errs...)
}

// Clean removes the temporary directory of a dead writer, if it consists of nothing but the
// remains of a save or a removal. In an object store it undoes or finishes what that writer
// has begun.
func Clean(ctx context.Context, temporary storage.Location) error {
	edit, err := temporary.Store.Edit(ctx, temporary.Name)
	if err == nil {
		err = errors.Join(edit.RemoveAll(ctx, Temporary(temporary.Store)), edit.Close())
	}
	if errors.Is(err, fs.ErrNotExist) { // another process was faster
		return nil
	}
	return err
}
