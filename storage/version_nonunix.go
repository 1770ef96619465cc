//go:build !unix

package storage

import "io/fs"

// version returns a version of the size and the time of the last write.
func version(info fs.FileInfo) string { return timeVersion(info) }
