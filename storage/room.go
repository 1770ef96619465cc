package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/bits"
	"os"
	"path"
	"path/filepath"
)

// Room returns the room on the file system of dir's nearest existing parent.
func (*local) Room(ctx context.Context, dir string) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	// A new directory is written beside its path, not on a file system that is mounted
	// there.
	for dir = path.Clean(dir); ; {
		parent := filepath.Dir(dir)
		info, err := os.Stat(parent)
		if err == nil && !info.IsDir() {
			err = fmt.Errorf("%s: not a directory", parent)
		}
		if err == nil {
			return room(parent)
		}
		if !errors.Is(err, fs.ErrNotExist) || parent == dir {
			return 0, err
		}
		dir = parent
	}
}

// bytesOf returns n units in bytes. File systems without a limit report huge numbers.
func bytesOf(n, unit uint64) int64 {
	high, low := bits.Mul64(n, unit)
	if high > 0 || low > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(low)
}
