//go:build !linux

package storage

import (
	"errors"
	"os"
)

func openDirect(entry, *os.File) (*os.File, int, error) { return nil, PageSize, errors.ErrUnsupported }

func writeVector(*os.File, int64, [][]byte) (int64, error) { return 0, errors.ErrUnsupported }

func (f *osFile) allocate(int64) error { return errors.ErrUnsupported }
