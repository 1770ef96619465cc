// Package interop holds only tests. They run Google's Orbax in Python and this module,
// and check that each loads the checkpoints of the other, bit for bit.
//
// They need a virtual environment with the versions that internal/pyenv/requirements.txt
// pins. The command internal/testall makes it once, in the user's cache directory, and
// runs all tests. go test runs these tests with ORBAX_INTEROP=1 in the environment, and
// skips them if that Python does not exist. With ORBAX_INTEROP=require they fail then,
// and report the missing packages.
//
//	go run ./internal/testall
//	ORBAX_INTEROP=require go test ./interop
//
// The tests of jobs run JAX in several processes, which save and load checkpoints together:
// in two processes, and with ORBAX_LONG_TESTS=1 also in four.
//
// The flag -rapid.checks is the number of random trees in each direction, and -flips the
// number of damaged checkpoints of each layout that Python gets; 0 damages every bit. The
// defaults are 50 and 60, or 200 and 300 with ORBAX_LONG_TESTS=1. -jobs is the number of
// random trees of each job and direction, 4 or 30, and -jobseed their seed. A failing
// random tree prints how to run it again.
package interop
