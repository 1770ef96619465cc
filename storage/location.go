package storage

import (
	"context"
	"net/url"
	"path"
	"path/filepath"
	"strings"
)

// Location is the place of a file or a directory: a store and a name in it.
type Location struct {
	Store Store
	Name  string // name in Store
	// Called is the path or the URL that the caller has given, for messages. If it is "",
	// messages use Name.
	Called string
}

// At returns the location of a name in a store that the caller has made.
func At(store Store, name string) Location { return Location{Store: store, Name: path.Clean(name)} }

// String returns the path or the URL that the caller has given, or else the name.
func (l Location) String() string {
	if l.Called == "" {
		return l.Name
	}
	return l.Called
}

// Base returns the last element of the name.
func (l Location) Base() string { return path.Base(l.Name) }

// Stat describes the file or directory; see [Store].
func (l Location) Stat(ctx context.Context) (Info, error) { return l.Store.Stat(ctx, l.Name) }

// List returns the entries of the directory; see [Store].
func (l Location) List(ctx context.Context) ([]Info, error) { return l.Store.List(ctx, l.Name) }

// Join returns the location of a file or directory below l. Names have slashes. The
// Called of the result is that of l with the names added.
func (l Location) Join(names ...string) Location {
	name := path.Join(names...)
	if name == "" || name == "." {
		return l
	}
	below := l
	below.Name = path.Join(l.Name, name)
	switch {
	case l.Called == "":
	case strings.Contains(l.Called, "://"):
		called := strings.TrimRight(l.Called, "/")
		for element := range strings.SplitSeq(name, "/") {
			called += "/" + url.PathEscape(element)
		}
		below.Called = called
	default:
		below.Called = filepath.Join(l.Called, filepath.FromSlash(name))
	}
	return below
}

// Dir returns the location of the directory that l is in. The root of a store is its own
// directory.
func (l Location) Dir() Location {
	above := l
	above.Name = path.Dir(l.Name)
	called := filepath.ToSlash(l.Called)
	scheme, rest, isURL := strings.Cut(called, "://")
	if !isURL {
		scheme, rest = "", called
	}
	rest = strings.TrimRight(rest, "/")
	switch {
	case l.Called == "":
	case path.Base(rest) != l.Base(): // such as "." or "..", or a URL that is the root of a store
		above.Called = ""
	case isURL:
		above.Called = scheme + "://" + strings.TrimSuffix(rest, l.Base())
	default:
		above.Called = filepath.Dir(filepath.Clean(l.Called))
	}
	return above
}
