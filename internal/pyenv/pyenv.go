// Package pyenv makes and finds the Python environment of the tests with the real Orbax:
// a virtual environment in the user's cache directory, with the packages that
// requirements.txt pins.
//
// Making it takes minutes on a slow line. No test does it, because a test has the time
// limit of go test, and go test shows nothing of a package that still runs. The command
// testall calls [Make] and shows its progress; tests call [Find].
package pyenv

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// Requirements is the list of packages, in pip's format.
//
//go:embed requirements.txt
var Requirements string

// These are errors of [Find] and [Make].
var (
	// ErrNoPython reports that no Python is new enough.
	ErrNoPython = errors.New("python3 3.11 or newer is not in PATH")
	// ErrNotMade reports that the environment has not been made yet.
	ErrNotMade = errors.New("the Python environment is not made yet; go run ./internal/testall makes it")
)

// Env says where the environment is, or will be.
type Env struct {
	Base string // the interpreter that makes it
	Dir  string // the virtual environment
}

// Python returns the interpreter of the environment.
func (e Env) Python() string { return interpreter(e.Dir) }

func interpreter(venv string) string {
	if runtime.GOOS == "windows" {
		return filepath.Join(venv, "Scripts", "python.exe")
	}
	return filepath.Join(venv, "bin", "python")
}

// locate returns the place of the environment for this machine's Python. The name depends
// on the version of Python and on the requirements, so that a change of either leads to a
// new environment.
func locate(ctx context.Context) (Env, error) {
	base, err := exec.LookPath("python3")
	if err != nil {
		return Env{}, ErrNoPython
	}
	version, err := exec.CommandContext(ctx, base, "-c",
		"import sys; print('%d.%d' % sys.version_info[:2]); sys.exit(sys.version_info < (3, 11))").Output()
	if err != nil {
		return Env{}, fmt.Errorf("%w: %s is %q", ErrNoPython, base, strings.TrimSpace(string(version)))
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return Env{}, err
	}
	id := sha256.Sum256(fmt.Appendf(nil, "%s %s", version, Requirements))
	return Env{Base: base, Dir: filepath.Join(cache, "go-orbax", fmt.Sprintf("venv-%x", id[:8]))}, nil
}

// Find returns the environment. If there is none, the error matches [ErrNoPython] or
// [ErrNotMade].
func Find(ctx context.Context) (Env, error) {
	e, err := locate(ctx)
	if err != nil {
		return e, err
	}
	if _, err := os.Stat(e.Dir); errors.Is(err, fs.ErrNotExist) {
		return e, ErrNotMade
	} else if err != nil {
		return e, err
	}
	return e, nil
}

// Make returns the environment, and makes it first if there is none. The output of pip
// goes to progress, line by line. Several processes may make the environment at the same
// time.
func Make(ctx context.Context, progress io.Writer) (Env, error) {
	e, err := Find(ctx)
	if !errors.Is(err, ErrNotMade) {
		return e, err
	}
	cache := filepath.Dir(e.Dir)
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return e, err
	}
	// The environment is made under another name, so that e.Dir is always complete.
	tmp, err := os.MkdirTemp(cache, "venv-unfinished-")
	if err != nil {
		return e, err
	}
	defer os.RemoveAll(tmp)
	list := filepath.Join(tmp, "requirements.txt")
	if err := os.WriteFile(list, []byte(Requirements), 0o644); err != nil {
		return e, err
	}
	made := filepath.Join(tmp, "venv")
	for _, args := range [][]string{
		{e.Base, "-m", "venv", made},
		{interpreter(made), "-m", "pip", "install", "--progress-bar", "off", "--disable-pip-version-check", "-r", list},
	} {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Stdout, cmd.Stderr = progress, progress
		if err := cmd.Run(); err != nil {
			return e, fmt.Errorf("%s: %w", strings.Join(args, " "), err)
		}
	}
	err = os.Rename(made, e.Dir)
	if _, statErr := os.Stat(e.Dir); statErr == nil {
		return e, nil // this process has made it, or another one at the same time
	}
	return e, err
}
