package storage_test

import (
	"testing"

	"github.com/go-orbax/orbax/storage"
)

func TestIsReplaced(t *testing.T) {
	const temp = "ck" + storage.TempMarker
	for name, want := range map[string]bool{
		temp + "-0a1b2c3d4e5f-old":     true, // 12 digits and the mark are as long as an id
		temp + "-0a1b2c3d4e5f6a7b":     false,
		temp + "-0a1b2c3d4e5f6a7b-old": false,
		temp + "-old":                  false,
		temp:                           false,
		"ck-old":                       false,
		"ck":                           false,
	} {
		if got := storage.IsReplaced(name); got != want {
			t.Errorf("%s: %t, want %t", name, got, want)
		}
	}
}
