// Package python finds the Python with the real Orbax for the tests that run it.
package python

import (
	"context"
	"sync"
	"testing"

	"github.com/go-orbax/orbax/internal/pyenv"
	"github.com/go-orbax/orbax/internal/testenv"
)

var find, findGCS, findS3 = once(pyenv.Find), once(pyenv.FindGCS), once(pyenv.FindS3)

func once(f func(context.Context) (pyenv.Env, error)) func() (pyenv.Env, error) {
	return sync.OnceValues(func() (pyenv.Env, error) { return f(context.Background()) })
}

// Need returns the path of the interpreter. It skips the test unless
// ORBAX_INTEROP is in the environment, and where there is no such Python; with
// ORBAX_INTEROP=require it fails the test there.
func Need(t testing.TB) string {
	t.Helper()
	return need(t, find).Python()
}

// NeedGCS is like [Need], for a Python whose Orbax accepts gs:// paths. packages is a
// directory that must be in PYTHONPATH.
func NeedGCS(t testing.TB) (interpreter, packages string) {
	t.Helper()
	env := need(t, findGCS)
	return env.Python(), env.GCS
}

// NeedS3 is like [NeedGCS], for a Python whose file system package knows s3:// paths. Orbax
// itself refuses them.
func NeedS3(t testing.TB) (interpreter, packages string) {
	t.Helper()
	env := need(t, findS3)
	return env.Python(), env.S3
}

func need(t testing.TB, find func() (pyenv.Env, error)) pyenv.Env {
	t.Helper()
	wanted, required := testenv.Python()
	if !wanted {
		t.Skipf("interop: set %s=1", testenv.Interop)
	}
	env, err := find()
	switch {
	case err == nil:
	case required:
		t.Fatalf("interop: ORBAX_INTEROP=require, but Orbax cannot be run: %v", err)
	default:
		t.Skipf("interop: Orbax cannot be run here: %v", err)
	}
	return env
}
