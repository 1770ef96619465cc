//go:build !linux

package main

import (
	"errors"
	"os"
)

func alignedMemory(int) ([]byte, error) { return nil, errors.ErrUnsupported }

func createDirect(string, int64) (*os.File, error) { return nil, errors.ErrUnsupported }

func openDirect(string) (*os.File, error) { return nil, errors.ErrUnsupported }
