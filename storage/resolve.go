package storage

import (
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
)

// Resolve returns the store that a path belongs to and its name there. A path
// without a scheme is on the local disk; a relative one is taken from the
// working directory. So is a URL of a file: file:///<absolute path>, in which % and
// two digits stand for a byte, as for those that mean something in a URL.
func Resolve(path string) (Store, string, error) {
	if scheme, _, ok := strings.Cut(path, "://"); ok {
		schemes.RLock()
		open := schemes.open[scheme]
		registered := slices.Sorted(maps.Keys(schemes.open))
		schemes.RUnlock()
		switch {
		case open != nil:
			return open(path)
		case !strings.EqualFold(scheme, "file"):
			return nil, "", unknownScheme(scheme, registered)
		}
		var err error
		if path, err = fileOf(path); err != nil {
			return nil, "", err
		}
	}
	if path == "" {
		return nil, "", fmt.Errorf("%w: empty path", fs.ErrInvalid)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, "", err
	}
	// A volume keeps its backslashes: package path would make one slash of the
	// two that \\server\share begins with.
	volume := filepath.VolumeName(abs)
	return Local(), volume + filepath.ToSlash(abs[len(volume):]), nil
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
