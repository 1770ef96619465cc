//go:build !unix

package memory

// probe trusts a system that it cannot ask.
func probe(int64) bool { return true }
