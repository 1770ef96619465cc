package cli

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/inspect"
	"github.com/go-orbax/orbax/storage"
)

// resolve returns the location that a path of the command line leads to. Every path that
// the command line looks at itself passes here.
func resolve(ctx context.Context, name string) (storage.Location, error) {
	return storage.Resolve(ctx, name)
}

// isURL reports whether a path has a scheme.
func isURL(name string) bool { return strings.Contains(name, "://") }

// place is where a path of the command line leads.
type place struct {
	store storage.Store
	name  string // in the store
	text  string // the path for people: as it was given, or what the URL of a file stands for
}

func placeOf(given string) (place, error) {
	at, err := resolve(context.Background(), given)
	if err != nil {
		return place{}, err
	}
	if scheme, _, ok := strings.Cut(given, "://"); ok && strings.EqualFold(scheme, "file") {
		given = filepath.FromSlash(at.Name)
	}
	return place{at.Store, at.Name, given}, nil
}

// dir returns the path of the directory that the place is in, with what divides it from a
// name in it; "" if the path is a name alone.
func (p place) dir() string {
	if isURL(p.text) {
		text := strings.TrimRight(p.text, "/")
		return text[:strings.LastIndexByte(text, '/')+1]
	}
	dir, _ := filepath.Split(filepath.Clean(p.text))
	return dir
}

// parent returns the directory that the place is in.
func (p place) parent() place {
	text := filepath.Dir(p.text)
	if isURL(p.text) {
		text = strings.TrimRight(p.dir(), "/")
	}
	return place{p.store, path.Dir(p.name), text}
}

// in returns the path of an entry of the place.
func (p place) in(name string) string { return inspect.Join(p.text, name) }

// locate is placeOf, with an error about the path that a person reads.
func locate(given string) (place, error) {
	at, err := placeOf(given)
	if err == nil {
		return at, nil
	}
	err = fmt.Errorf("%s: %w", given, err)
	if isURL(given) && errors.Is(err, orbax.ErrUnsupported) {
		err = withHint(err, noStoreHint)
	}
	return place{}, err
}
