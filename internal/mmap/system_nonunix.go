//go:build !unix

package mmap

import (
	"errors"
	"os"
)

func reserve(int) ([]byte, error) { return nil, errors.ErrUnsupported }

func mapFile([]byte, *os.File, int64) error { return errors.ErrUnsupported }

func retire([]byte) error { return errors.ErrUnsupported }

func release([]byte) error { return errors.ErrUnsupported }
