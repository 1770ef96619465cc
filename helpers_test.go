package orbax_test

import "github.com/go-orbax/orbax/internal/orbaxtest"

// The helpers of all tests, by the short names that they have here. Those of the root alone
// are in files_test.go (checkpoints in memory), versions_test.go (states whose numbers show
// their version), held_test.go (saves that stop half way), children_test.go (child
// processes) and watchstore_test.go (what is read).
var (
	must         = orbaxtest.Must
	same         = orbaxtest.Same
	writeFile    = orbaxtest.WriteFile
	remove       = orbaxtest.Remove
	unfinished   = orbaxtest.Temporary
	writeTensors = orbaxtest.WriteTensors
)
