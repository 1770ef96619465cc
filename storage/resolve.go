package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
)

// Resolve returns the location of a path or a URL. A path without a scheme is on the
// local disk, and a relative one is below the working directory. A URL file:///<absolute
// path> is on the local disk too; in it, % and two hexadecimal digits stand for a byte.
// Resolve passes a path with another scheme to the [OpenFunc] that [Register] got for it.
// Schemes may be in capital letters. A scheme that is not registered is an error that matches
// orbax.ErrUnsupported.
//
// A path that begins like a URL and is none, such as gs:/bucket/run, is an error that matches
// io/fs.ErrInvalid: a shell or a function that cleans paths may have removed a slash. A file
// of such a name is ./gs:/bucket/run.
func Resolve(ctx context.Context, path string) (Location, error) {
	called := path
	if scheme, _, ok := strings.Cut(path, "://"); ok {
		scheme = strings.ToLower(scheme)
		schemes.RLock()
		open := schemes.open[scheme]
		registered := slices.Sorted(maps.Keys(schemes.open))
		schemes.RUnlock()
		switch {
		case open != nil:
			return resolveURL(ctx, path, open)
		case scheme != "file":
			return Location{}, unknownScheme(scheme, registered)
		}
		var err error
		if path, err = fileOf(path); err != nil {
			return Location{}, err
		}
	} else if err := cutURL(path); err != nil {
		return Location{}, err
	}
	if path == "" {
		return Location{}, fmt.Errorf("%w: empty path (%w)", fault.ErrUsage, fs.ErrInvalid)
	}
	name, err := absolute(path)
	if err != nil {
		return Location{}, err
	}
	return Location{Local(), name, called}, nil
}

// cutURL returns an error for a path that begins with a scheme and a colon, without the two
// slashes of a URL.
func cutURL(path string) error {
	scheme, rest, ok := strings.Cut(path, ":")
	if scheme = strings.ToLower(scheme); !ok || !isScheme(scheme) {
		return nil
	}
	rest = strings.TrimLeft(filepath.ToSlash(rest), "/")
	whole := scheme + "://" + rest
	if scheme == "file" {
		whole = "file:///" + rest
	}
	return fmt.Errorf("%w: a path that begins with %s: has two slashes behind the colon: write %s; a file of this name is written with ./ before it", fs.ErrInvalid, scheme, fault.Redacted(whole))
}

// isScheme reports whether paths with a scheme are URLs, in this program or in others.
func isScheme(scheme string) bool {
	schemes.RLock()
	defer schemes.RUnlock()
	_, registered := schemes.open[scheme]
	return scheme == "file" || registered || drivers[scheme] != "" || otherNames[scheme] != ""
}

// absolute returns the name of a path in the store of the local disk.
func absolute(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	// A volume keeps its backslashes: package path would replace the two that
	// \\server\share begins with by one slash.
	volume := filepath.VolumeName(abs)
	return volume + filepath.ToSlash(abs[len(volume):]), nil
}

// resolveURL opens a URL with the function of its scheme.
func resolveURL(ctx context.Context, path string, open OpenFunc) (Location, error) {
	u, err := url.Parse(path)
	if err != nil {
		return Location{}, badURL(err)
	}
	store, name, err := open(ctx, u)
	return Location{store, name, path}, err
}

// badURL returns the error of a text that is no URL. It leaves the text out, which may
// contain credentials.
func badURL(err error) error {
	var parse *url.Error
	if errors.As(err, &parse) {
		err = parse.Err
	}
	if escape := url.EscapeError(""); errors.As(err, &escape) {
		return fmt.Errorf("%w: not a URL: %w; in a name write %%25 for %%", fs.ErrInvalid, err)
	}
	return fmt.Errorf("%w: not a URL: %w", fs.ErrInvalid, err)
}

// drivers are the packages that register the schemes of clouds.
var drivers = map[string]string{
	"gs":     "github.com/go-orbax/orbax/storage/cloud/gcs",
	"s3":     "github.com/go-orbax/orbax/storage/cloud/s3",
	"azblob": "github.com/go-orbax/orbax/storage/cloud/azure",
}

// otherNames are the schemes that other programs have for the object stores of [drivers].
var otherNames = map[string]string{
	"gcs": "gs", "s3a": "s3", "s3n": "s3", "az": "azblob", "azure": "azblob", "abfs": "azblob", "abfss": "azblob", "wasb": "azblob", "wasbs": "azblob",
}

// unknownScheme returns the error for a path whose scheme is not registered.
func unknownScheme(scheme string, registered []string) error {
	known := "only paths on this machine"
	if len(registered) > 0 {
		known = "paths on this machine and those that begin with " + strings.Join(registered, "://, ") + "://"
	}
	cure := fmt.Sprintf("a Go program can give storage.Register(%q, …) a store", scheme)
	if driver := drivers[scheme]; driver != "" {
		cure = "a Go program imports " + driver + " for them"
	}
	if name := otherNames[scheme]; name != "" {
		cure = "the paths of that service begin with " + name + "://"
	}
	return fmt.Errorf("%w: no store for %s:// paths; this program reads %s (%s)", fault.ErrUnsupported, scheme, known, cure)
}

// fileOf returns the path of a URL of a file.
func fileOf(s string) (string, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "", badURL(err)
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#"):
		return "", fmt.Errorf("%w: %s has a query or a fragment; in a name write %%3F for ? and %%23 for #", fs.ErrInvalid, fault.Redacted(s))
	case u.Host != "" && !strings.EqualFold(u.Host, "localhost") || u.User != nil || u.Path == "":
		return "", fmt.Errorf("%w: %s names no file of this machine; write file:///<absolute path>, or the path alone", fs.ErrInvalid, fault.Redacted(s))
	}
	name := filepath.FromSlash(u.Path)
	if drive := strings.TrimLeft(name, `\`); filepath.VolumeName(drive) != "" {
		return drive, nil // file:///C:/x
	}
	return name, nil
}
