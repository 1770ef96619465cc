// Package testenv reads the environment variables of the tests, so that each variable has
// one name and one meaning in all packages:
//
//	ORBAX_LONG_TESTS=1    run everything instead of quick samples
//	ORBAX_LONG_TESTS=all  also flip each bit that the long tests only sample
//	ORBAX_INTEROP=1       run the real Orbax, in Python, if possible, and install the servers
//	                      of object stores
//	ORBAX_INTEROP=require fail if the real Orbax or such a server cannot be run
//	ORBAX_TEST_CHILD      set by a test for a child process that it starts
//
// CONTRIBUTING.md describes the variables for contributors.
package testenv

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// These are the names of the variables that people set.
const (
	LongTests = "ORBAX_LONG_TESTS"
	Interop   = "ORBAX_INTEROP"
)

// child is the variable that marks a process that a test has started.
const child = "ORBAX_TEST_CHILD"

// Long reports whether the long tests run.
func Long() bool { return os.Getenv(LongTests) != "" }

// EveryBit reports whether each bit is flipped that the long tests only sample. This
// takes minutes more.
func EveryBit() bool { return os.Getenv(LongTests) == "all" }

// Pick returns all in a long run and some in a quick run.
func Pick[T any](all, some T) T {
	if Long() {
		return all
	}
	return some
}

// NeedLong skips a test in a quick run. why says why the test takes long.
func NeedLong(t testing.TB, why string) {
	t.Helper()
	if !Long() {
		t.Skipf("%s; set %s=1", why, LongTests)
	}
}

// Python reports whether the tests with the real Orbax and other real programs are wanted,
// and whether they must fail if these cannot be run.
func Python() (wanted, required bool) {
	v := os.Getenv(Interop)
	return v != "", v == "require"
}

// SetChild makes cmd a child process that does a job. cmd runs the program of the test.
// The name of the job has no colon.
func SetChild(cmd *exec.Cmd, job, arg string) {
	cmd.Env = append(os.Environ(), child+"="+job+":"+arg)
}

// Child returns the job of this process. ok is false if no test has started the process.
func Child() (job, arg string, ok bool) { return strings.Cut(os.Getenv(child), ":") }
