package storage

import (
	"path"
	"path/filepath"
	"strings"
)

// Location is where something is: a name in a store, and what the caller calls it.
type Location struct {
	Store Store
	Name  string // in Store
	// Called is the path or the URL that the caller has given, for messages and for what
	// is given back. "" if that is Name.
	Called string
}

// At returns the location of a name in a store that the caller has made.
func At(store Store, name string) Location { return Location{Store: store, Name: path.Clean(name)} }

// String returns what the caller calls it.
func (l Location) String() string {
	if l.Called == "" {
		return l.Name
	}
	return l.Called
}

// Base returns the last element of the name.
func (l Location) Base() string { return path.Base(l.Name) }

// Join returns the location of what is below l under a name with slashes. It is called
// as the caller calls l.
func (l Location) Join(name string) Location {
	below := l
	below.Name = path.Join(l.Name, name)
	switch {
	case l.Called == "":
	case strings.Contains(l.Called, "://"):
		below.Called = strings.TrimRight(l.Called, "/") + "/" + name
	default:
		below.Called = filepath.Join(l.Called, filepath.FromSlash(name))
	}
	return below
}

// Dir returns the location of the directory that l is in. The root of a store is in itself.
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
