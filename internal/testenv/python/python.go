// Package python finds the Python with the real Orbax for the tests that run it.
package python

import (
	"context"
	"sync"
	"testing"

	"github.com/go-orbax/orbax/internal/pyenv"
	"github.com/go-orbax/orbax/internal/testenv"
)

var find = sync.OnceValues(func() (string, error) {
	env, err := pyenv.Find(context.Background())
	if err != nil {
		return "", err
	}
	return env.Python(), nil
})

// Need returns the path of the interpreter. It skips the test unless
// ORBAX_INTEROP is in the environment, and where there is no such Python; with
// ORBAX_INTEROP=require it fails the test there.
func Need(t testing.TB) string {
	t.Helper()
	wanted, required := testenv.Python()
	if !wanted {
		t.Skipf("interop: set %s=1", testenv.Interop)
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
