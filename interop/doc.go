// Package interop holds tests alone: they run Google's Orbax, in Python, beside
// this module, and check that each loads what the other saves, bit for bit.
//
// They need a virtual environment with the versions that
// internal/pyenv/requirements.txt pins. The command internal/testall makes it, once,
// in the user's cache directory, and runs all tests. go test runs these tests with
// ORBAX_INTEROP=1 in the environment, and skips them where there is no such Python;
// with ORBAX_INTEROP=require they fail there, and say what is missing.
//
//	go run ./internal/testall
//	ORBAX_INTEROP=require go test ./interop
//
// The flag -rapid.checks is how many random trees go in each direction, and -flips how
// many damaged checkpoints of each layout Python is given; 0 damages every bit. Without
// them they are 50 and 60, or 200 and 300 with ORBAX_LONG_TESTS=1. A failing random
// tree prints how to run it again.
package interop
