// Package pyenv makes and finds the Python environment of the tests with the real Orbax:
// a virtual environment in the user's cache directory, with the packages that
// requirements.txt pins. Beside it are directories with what Orbax needs more for gs:// and
// for s3:// paths, which requirements-gcs.txt and requirements-s3.txt pin. They are two,
// because each pins what its own packages want.
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

//go:embed requirements-gcs.txt
var requirementsGCS string

//go:embed requirements-s3.txt
var requirementsS3 string

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
	GCS  string // the further packages for gs:// paths, a directory for PYTHONPATH
	S3   string // the same for s3:// paths
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
	with := func(further string) [sha256.Size]byte { return sha256.Sum256(fmt.Appendf(id[:], "%s", further)) }
	in := func(name string, id [sha256.Size]byte) string {
		return filepath.Join(cache, "go-orbax", fmt.Sprintf("%s-%x", name, id[:8]))
	}
	return Env{Base: base, Dir: in("venv", id), GCS: in("gcs", with(requirementsGCS)), S3: in("s3", with(requirementsS3))}, nil
}

// Find returns the environment. If there is none, the error matches [ErrNoPython] or
// [ErrNotMade].
func Find(ctx context.Context) (Env, error) {
	e, err := locate(ctx)
	if err != nil {
		return e, err
	}
	return e, isMade(e.Dir)
}

// FindGCS is like [Find], for an environment that has the packages for gs:// paths.
func FindGCS(ctx context.Context) (Env, error) {
	e, err := Find(ctx)
	if err != nil {
		return e, err
	}
	return e, isMade(e.GCS)
}

// FindS3 is like [Find], for an environment that has the packages for s3:// paths.
func FindS3(ctx context.Context) (Env, error) {
	e, err := Find(ctx)
	if err != nil {
		return e, err
	}
	return e, isMade(e.S3)
}

// FindAll is like [Find], for an environment that has everything that [Make] makes.
func FindAll(ctx context.Context) (Env, error) {
	e, err := FindGCS(ctx)
	if err != nil {
		return e, err
	}
	return e, isMade(e.S3)
}

// isMade returns [ErrNotMade] if a directory of the environment is missing.
func isMade(dir string) error {
	_, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotMade
	}
	return err
}

// Make returns the environment with the packages for gs:// and s3:// paths, and makes first
// what is missing. The output of pip goes to progress, line by line. Several processes may make the
// environment at the same time.
func Make(ctx context.Context, progress io.Writer) (Env, error) {
	e, err := locate(ctx)
	if err != nil {
		return e, err
	}
	pip := []string{"-m", "pip", "install", "--progress-bar", "off", "--disable-pip-version-check", "-r"}
	err = install(ctx, e.Dir, Requirements, progress, func(made, list string) [][]string {
		return [][]string{
			{e.Base, "-m", "venv", made},
			append(append([]string{interpreter(made)}, pip...), list),
		}
	})
	if err != nil {
		return e, err
	}
	further := func(made, list string) [][]string {
		return [][]string{append(append([]string{e.Python()}, pip...), list, "--no-deps", "--target", made)}
	}
	if err := install(ctx, e.GCS, requirementsGCS, progress, further); err != nil {
		return e, err
	}
	return e, install(ctx, e.S3, requirementsS3, progress, further)
}

// install makes a directory by the given commands, if it is missing. It passes them the name
// of the directory and that of a file with the requirements.
func install(ctx context.Context, dir, requirements string, progress io.Writer, commands func(made, list string) [][]string) error {
	if err := isMade(dir); !errors.Is(err, ErrNotMade) {
		return err
	}
	cache := filepath.Dir(dir)
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	// It is made under another name, so that dir is always complete.
	tmp, err := os.MkdirTemp(cache, "venv-unfinished-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	list := filepath.Join(tmp, "requirements.txt")
	if err := os.WriteFile(list, []byte(requirements), 0o644); err != nil {
		return err
	}
	made := filepath.Join(tmp, "made")
	for _, args := range commands(made, list) {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Stdout, cmd.Stderr = progress, progress
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w", strings.Join(args, " "), err)
		}
	}
	err = os.Rename(made, dir)
	if isMade(dir) == nil {
		return nil // this process has made it, or another one at the same time
	}
	return err
}
