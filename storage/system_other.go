//go:build !linux && !darwin

package storage

import "errors"

func (osSystem) rename(old, new entry) error { return renameIfAbsent(old, new) }

func (osSystem) exchange(a, b string) error {
	return linkError("exchange", a, b, errors.ErrUnsupported)
}

// movable is needed only for overlayfs, which these systems lack.
func movable(dir string, beside *openDir) error { return nil }
