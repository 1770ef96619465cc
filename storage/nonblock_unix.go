//go:build unix

package storage

import (
	"errors"

	"golang.org/x/sys/unix"
)

// nonblock makes opening a FIFO return at once. It has no effect on regular files.
const nonblock = unix.O_NONBLOCK

func wouldBlock(err error) bool { return errors.Is(err, unix.EAGAIN) }
