//go:build !unix

package memory

// probe returns true on systems that it cannot ask.
func probe(int64) bool { return true }
