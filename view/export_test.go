package view

import "testing"

// MapAll makes loads map what is of any size.
func MapAll(t testing.TB) {
	was := mappedFileBytes
	mappedFileBytes = 0
	t.Cleanup(func() { mappedFileBytes = was })
}
