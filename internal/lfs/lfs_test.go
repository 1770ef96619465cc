package lfs_test

import (
	"strings"
	"testing"

	"github.com/go-orbax/orbax/internal/lfs"
)

func TestIsPointer(t *testing.T) {
	const pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 604153\n"
	for text, want := range map[string]bool{
		pointer:                true,
		"":                     false,
		"version https://git-": false,
		" " + pointer:          false,
		pointer + strings.Repeat("x", lfs.MaxSize-len(pointer)-1): true,
		pointer + strings.Repeat("x", lfs.MaxSize-len(pointer)):   false,
	} {
		if got := lfs.IsPointer([]byte(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
