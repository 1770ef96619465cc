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
// TestLayouts, which needs no Python, is a table. Its rows are checkpoints in
// every layout that is written anywhere, in testdata/layouts, and its columns the
// ways to read them; -v prints it. testdata/layouts.py has made the rows, and
// TestLayoutsFresh has it make them again.
//
// ORBAX_INTEROP_CHECKS is how many random trees go in each direction, 200 if it
// is not set, and ORBAX_INTEROP_FLIPS how many damaged checkpoints Python is
// given; 0 damages every bit. A failing random tree prints how to run it again.
package interop
