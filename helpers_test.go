package orbax_test

import "github.com/go-orbax/orbax/internal/orbaxtest"

// The helpers of all tests, by the short names that they have here.
var (
	must      = orbaxtest.Must
	same      = orbaxtest.Same
	writeFile = orbaxtest.WriteFile
	remove    = orbaxtest.Remove
)
