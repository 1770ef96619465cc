package storage

import (
	"context"
	"net/url"
	"path"
	"path/filepath"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
)

// Location is the place of a file or a directory: a store and a name in it.
type Location struct {
	Store Store
	Name  string // name in Store
	// Called is the path or the URL that the caller has given, for messages. If it is "",
	// messages use Name.
	Called string
}

// At returns the location of a name in a store that the caller has made. In the store
// [Local] a relative name is below the working directory of this moment.
func At(store Store, name string) Location {
	l := Location{Store: store, Name: path.Clean(name)}
	if isDisk(store) && !filepath.IsAbs(filepath.FromSlash(name)) {
		if abs, err := absolute(name); err == nil {
			l.Name, l.Called = abs, name
		}
	}
	return l
}

// isDisk reports whether a store is [Local].
func isDisk(store Store) bool {
	disk, ok := store.(*local)
	if !ok {
		return false
	}
	_, ok = disk.sys.(osSystem)
	return ok
}

// Path returns the path or the URL that the caller has given, or else the name. A URL may
// contain credentials.
func (l Location) Path() string {
	if l.Called == "" {
		return l.Name
	}
	return l.Called
}

// String returns the path for messages: without the credentials and the values of the
// query that a URL may have.
func (l Location) String() string { return fault.Redacted(l.Path()) }

// LocalPath returns the path of a location on the local disk, in the form of the
// operating system. ok is false for a location in another store than [Local].
func (l Location) LocalPath() (path string, ok bool) {
	if !isDisk(l.Store) {
		return "", false
	}
	return filepath.FromSlash(l.Name), true
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
	switch called, query, isURL := l.called(); {
	case called == "":
	case isURL:
		scheme, rest, _ := strings.Cut(called, "://")
		if rest != "" { // else the name begins where a URL has its host
			rest = strings.TrimRight(rest, "/") + "/"
		}
		elements := strings.Split(name, "/")
		for i, element := range elements {
			elements[i] = url.PathEscape(element)
		}
		below.Called = scheme + "://" + rest + strings.Join(elements, "/") + query
	default:
		below.Called = filepath.Join(called, filepath.FromSlash(name))
	}
	return below
}

// called returns Called. For a URL it returns the query and the fragment apart.
func (l Location) called() (called, query string, isURL bool) {
	if !strings.Contains(l.Called, "://") {
		return l.Called, "", false
	}
	at := strings.IndexAny(l.Called, "?#")
	if at < 0 {
		return l.Called, "", true
	}
	return l.Called[:at], l.Called[at:], true
}

// Dir returns the location of the directory that l is in. The root of a store is its own
// directory.
func (l Location) Dir() Location {
	above := l
	above.Name = path.Dir(l.Name)
	called, query, isURL := l.called()
	scheme, rest := "", filepath.ToSlash(called)
	if isURL {
		scheme, rest, _ = strings.Cut(called, "://")
	}
	rest = strings.TrimRight(rest, "/")
	switch {
	case called == "":
	case path.Base(rest) != l.Base(): // such as "." or "..", or a URL that is the root of a store
		above.Called = ""
	case isURL:
		above.Called = scheme + "://" + strings.TrimSuffix(rest, l.Base()) + query
	default:
		above.Called = filepath.Dir(filepath.Clean(called))
	}
	return above
}
