//go:build !linux && !darwin && !windows

package storage

import (
	"errors"
	"fmt"
)

func room(dir string) (int64, error) {
	return 0, fmt.Errorf("%s: room on the disk: %w", dir, errors.ErrUnsupported)
}
