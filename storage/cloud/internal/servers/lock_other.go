//go:build !unix

package servers

// lock does nothing: several processes may install a tool at the same time, and the first
// one that is ready wins.
func lock(string) (unlock func(), err error) { return func() {}, nil }
