// Package python finds the Python with the real Orbax for the tests that run it.
package python

import (
	"context"
	"os"
	"sync"
	"testing"

	"github.com/go-orbax/orbax/internal/pyenv"
)

var find = sync.OnceValues(func() (string, error) {
	env, err := pyenv.Find(context.Background())
	if err != nil {
		return "", err
	}
	return env.Python(), nil
})

// Need returns the path of the interpreter. It skips the test where there is none,
// or with -short, or fails the test if ORBAX_INTEROP=require is in the environment.
func Need(t testing.TB) string {
	t.Helper()
	required := os.Getenv("ORBAX_INTEROP") == "require"
	if testing.Short() && !required {
		t.Skip("interop: skipped with -short")
	}
	path, err := find()
	switch {
	case err == nil:
	case required:
		t.Fatalf("interop: ORBAX_INTEROP=require, but Orbax cannot be run: %v", err)
	default:
		t.Skipf("interop: Orbax cannot be run here: %v", err)
	}
	return path
}
