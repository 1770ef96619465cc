//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package main

import (
	"errors"
	"os"
)

func lockFile(*os.File) error { return errors.ErrUnsupported }
