package storage

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
)

// Left returns the temporary directories beside dir that no process has locked.
func (l *local) Left(ctx context.Context, dir string) ([]string, error) {
	dir = path.Clean(dir)
	parent := path.Dir(dir)
	entries, err := l.Entries(ctx, parent)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.Type.IsDir() && isLeftOf(e.Name, path.Base(dir)) {
			names = append(names, e.Name)
		}
	}
	if len(names) == 0 || !locks(parent) {
		return nil, nil
	}
	_, err = os.Lstat(dir)
	var left []string
	for _, name := range names {
		if strings.HasSuffix(name, oldMark) && err != nil {
			continue // the only copy, after a crash between two renames
		}
		if name = path.Join(parent, name); !l.sys.locked(name) {
			left = append(left, name)
		}
	}
	return left, nil
}

// Work returns nil: a writer works beside dir, where readers see nothing of it.
func (l *local) Work(context.Context, string) (*Work, error) { return nil, nil }
