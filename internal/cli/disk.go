package cli

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/storage"
)

// onDisk returns the name on the local disk of what a path or the URL of a file stands
// for, a path as it was given. Every path must pass here before package os sees it, which
// takes gs://bucket/m for a relative path.
func onDisk(path string) (string, error) {
	scheme, _, isURL := strings.Cut(path, "://")
	_, name, err := storage.Resolve(path)
	switch {
	case err == nil && isURL && !strings.EqualFold(scheme, "file"):
		err = fmt.Errorf("%w: it is not on the disk", orbax.ErrUnsupported)
	case err == nil && !isURL:
		return path, nil
	case err == nil:
		return filepath.FromSlash(name), nil
	}
	err = fmt.Errorf("%s: %w", path, err)
	if errors.Is(err, orbax.ErrUnsupported) {
		err = withHint(err, noStoreHint)
	}
	return "", err
}
