// Package interop holds tests alone: they run Google's Orbax, in Python, beside
// this module, and check that each loads what the other saves, bit for bit.
//
// They need a virtual environment with the versions that
// internal/pyenv/requirements.txt pins. The command internal/testall makes it, once,
// in the user's cache directory, and runs all tests. Where there is none, and with
// -short, the tests are skipped; with ORBAX_INTEROP=require in the environment they
// fail instead, and say what is missing.
//
//	go run ./internal/testall
//	ORBAX_INTEROP=require go test ./interop
//
// ORBAX_INTEROP_CHECKS is how many random trees go in each direction, and
// ORBAX_INTEROP_FLIPS how many damaged checkpoints of each layout Python is given; 0
// damages every bit. If they are not set they are 50 and 60, or 200 and 300 with
// ORBAX_LONG_TESTS=1. A failing random tree prints how to run it again.
package interop
