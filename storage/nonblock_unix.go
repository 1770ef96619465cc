//go:build unix

package storage

import (
	"errors"

	"golang.org/x/sys/unix"
)

// nonblock makes opening a FIFO return at once. Of regular files it changes nothing.
const nonblock = unix.O_NONBLOCK

func wouldBlock(err error) bool { return errors.Is(err, unix.EAGAIN) }
