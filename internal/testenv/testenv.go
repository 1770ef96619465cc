// Package testenv reads the environment variables of the tests, so that each has one
// name and one meaning in all packages:
//
//	ORBAX_LONG_TESTS=1    run everything, and not the quick samples alone
//	ORBAX_LONG_TESTS=all  flip also each bit of what the long tests sample
//	ORBAX_INTEROP=1       run the real Orbax, in Python, where it can be run
//	ORBAX_INTEROP=require fail where it cannot be run
//	ORBAX_TEST_CHILD      set by a test for a child process that it starts
//
// CONTRIBUTING.md describes them for people.
package testenv

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Names of the variables that people set.
const (
	LongTests = "ORBAX_LONG_TESTS"
	Interop   = "ORBAX_INTEROP"
)

// child is the variable of a process that a test has started.
const child = "ORBAX_TEST_CHILD"

// Long reports whether the long tests are to run.
func Long() bool { return os.Getenv(LongTests) != "" }

// EveryBit reports whether each bit is to be flipped of what the long tests sample,
// which takes minutes more.
func EveryBit() bool { return os.Getenv(LongTests) == "all" }

// Pick returns all if the long tests are to run, and some in a quick run.
func Pick[T any](all, some T) T {
	if Long() {
		return all
	}
	return some
}

// NeedLong skips a test in a quick run. why says what takes long.
func NeedLong(t testing.TB, why string) {
	t.Helper()
	if !Long() {
		t.Skipf("%s; set %s=1", why, LongTests)
	}
}

// Python reports whether the tests that run the real Orbax are to run, and whether
// they must fail where it cannot be run.
func Python() (wanted, required bool) {
	v := os.Getenv(Interop)
	return v != "", v == "require"
}

// SetChild makes cmd, a run of the test's own program, a child process that is to do
// a job. The job's name has no colon.
func SetChild(cmd *exec.Cmd, job, arg string) {
	cmd.Env = append(os.Environ(), child+"="+job+":"+arg)
}

// Child returns the job of this process if a test has started it.
func Child() (job, arg string, ok bool) { return strings.Cut(os.Getenv(child), ":") }
