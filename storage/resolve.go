package storage

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
)

// Resolve returns the location that a path leads to. A path
// without a scheme is on the local disk; a relative one is taken from the
// working directory. So is a URL of a file: file:///<absolute path>, in which % and
// two digits stand for a byte, as for those that mean something in a URL. Paths with another
// scheme are for the function that [Register] got for it.
func Resolve(ctx context.Context, path string) (Location, error) {
	called := path
	if scheme, _, ok := strings.Cut(path, "://"); ok {
		schemes.RLock()
		open := schemes.open[scheme]
		registered := slices.Sorted(maps.Keys(schemes.open))
		schemes.RUnlock()
		switch {
		case open != nil:
			return resolveURL(ctx, path, open)
		case !strings.EqualFold(scheme, "file"):
			return Location{}, unknownScheme(scheme, registered)
		}
		var err error
		if path, err = fileOf(path); err != nil {
			return Location{}, err
		}
	}
	if path == "" {
		return Location{}, fmt.Errorf("%w: empty path", fs.ErrInvalid)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return Location{}, err
	}
	// A volume keeps its backslashes: package path would make one slash of the
	// two that \\server\share begins with.
	volume := filepath.VolumeName(abs)
	return Location{Local(), volume + filepath.ToSlash(abs[len(volume):]), called}, nil
}

// resolveURL has the function of a scheme open a URL.
func resolveURL(ctx context.Context, path string, open OpenFunc) (Location, error) {
	u, err := url.Parse(path)
	if err != nil {
		return Location{}, fmt.Errorf("%w: %w", fs.ErrInvalid, err)
	}
	store, name, err := open(ctx, u)
	return Location{store, name, path}, err
}

// unknownScheme says what a program lacks that is given a path with a scheme.
func unknownScheme(scheme string, registered []string) error {
	known := "only paths on this machine"
	if len(registered) > 0 {
		known = "paths on this machine and those that begin with " + strings.Join(registered, "://, ") + "://"
	}
	return fmt.Errorf("%w: no store for %s:// paths; this program reads %s (a Go program can give storage.Register(%q, …) a store; there is no package with one yet)",
		fault.ErrUnsupported, scheme, known, scheme)
}

// fileOf returns the path that a URL of a file stands for.
func fileOf(s string) (string, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "", fmt.Errorf("%w: %w", fs.ErrInvalid, err)
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#"):
		return "", fmt.Errorf("%w: %s has a query or a fragment; in a name write %%3F for ? and %%23 for #", fs.ErrInvalid, s)
	case u.Host != "" && !strings.EqualFold(u.Host, "localhost") || u.User != nil || u.Path == "":
		return "", fmt.Errorf("%w: %s names no file of this machine; write file:///<absolute path>, or the path alone", fs.ErrInvalid, s)
	}
	name := filepath.FromSlash(u.Path)
	if drive := strings.TrimLeft(name, `\`); filepath.VolumeName(drive) != "" {
		return drive, nil // file:///C:/x
	}
	return name, nil
}
