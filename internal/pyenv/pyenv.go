// Package pyenv makes and finds the Python environment that the tests against the
// real Orbax run in: a virtual environment with the packages that requirements.txt
// pins, in the user's cache directory.
//
// Making it takes minutes on a slow line, so no test does it: a test gets the time
// limit of go test, and go test shows nothing of a package that still runs.
// [Make] is called by the command testall, which shows what it does; tests call
// [Find].
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

// Errors of [Find] and [Make].
var (
	// ErrNoPython reports that there is no Python that is new enough.
	ErrNoPython = errors.New("python3 3.11 or newer is not in PATH")
	// ErrNotMade reports that the environment has not been made yet.
	ErrNotMade = errors.New("the Python environment is not made yet; go run ./internal/testall makes it")
)

// Env is where the environment is, or is to be.
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

// locate returns where the environment of this machine's Python belongs. The name
// depends on the version and on the requirements, so that a change of either makes
// another one.
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

// Find returns the environment. The error matches [ErrNoPython] or [ErrNotMade] if
// there is none.
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

// Make returns the environment, and makes it first if there is none. What pip
// reports goes to progress, line by line. Several processes may make it at a time.
func Make(ctx context.Context, progress io.Writer) (Env, error) {
	e, err := Find(ctx)
	if !errors.Is(err, ErrNotMade) {
		return e, err
	}
	cache := filepath.Dir(e.Dir)
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return e, err
	}
	// It is made under another name: what e.Dir holds is complete.
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
		return e, nil // ours, or that of a process that made it at the same time
	}
	return e, err
}
