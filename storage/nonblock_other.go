//go:build !unix

package storage

const nonblock = 0

func wouldBlock(error) bool { return false }
