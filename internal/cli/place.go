package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/inspect"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/storage"
)

// locate returns the location of a path of the command line. A file:// URL is called by
// its path in messages.
func (c Config) locate(ctx context.Context, given string) (storage.Location, error) {
	at, err := inspect.Inspector{Store: c.Store}.Locate(ctx, given)
	if path, ok := at.LocalPath(); ok && layout.IsURL(at.Called) {
		at.Called = path
	}
	return at, err
}

// argument is locate for an argument of the command line. Its error names the argument.
func (c Config) argument(ctx context.Context, given string) (storage.Location, error) {
	at, err := c.locate(ctx, given)
	if err == nil {
		return at, nil
	}
	err = fmt.Errorf("%s: %w", given, err)
	if layout.IsURL(given) && errors.Is(err, orbax.ErrUnsupported) {
		err = hinted{err, noStoreHint(given)}
	}
	return storage.Location{}, err
}
