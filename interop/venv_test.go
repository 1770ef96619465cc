package interop

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

//go:embed testdata/requirements.txt
var requirements []byte

// installTime is what pip may take, on a slow line, to fetch what Orbax needs:
// less than what go test gives a package.
const installTime = 8 * time.Minute

// python returns the interpreter of the virtual environment for the
// requirements, which it makes if it is not in the cache.
func python(ctx context.Context) (string, error) {
	base, err := exec.LookPath("python3")
	if err != nil {
		return "", errors.New("there is no python3 in PATH")
	}
	version, err := exec.CommandContext(ctx, base, "-c",
		"import sys; print('%d.%d' % sys.version_info[:2]); sys.exit(sys.version_info < (3, 11))").Output()
	if err != nil {
		return "", fmt.Errorf("python3 must be 3.11 or newer, %s is %q", base, version)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	cache = filepath.Join(cache, "go-orbax")
	id := sha256.Sum256(fmt.Appendf(nil, "%s %s", version, requirements))
	dir := filepath.Join(cache, fmt.Sprintf("venv-%x", id[:8]))
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		err = makeVenv(ctx, base, cache, dir)
		if err != nil {
			return "", err
		}
	}
	if runtime.GOOS == "windows" {
		return filepath.Join(dir, "Scripts", "python.exe"), nil
	}
	return filepath.Join(dir, "bin", "python"), nil
}

// makeVenv makes a virtual environment under another name and then renames it
// to dir, so that what dir holds is complete, also if several do it at a time.
func makeVenv(ctx context.Context, base, cache, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, installTime)
	defer cancel()
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(cache, "venv-unfinished-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	list := filepath.Join(tmp, "requirements.txt")
	if err := os.WriteFile(list, requirements, 0o644); err != nil {
		return err
	}
	made := filepath.Join(tmp, "venv")
	bin := filepath.Join(made, "bin", "python")
	if runtime.GOOS == "windows" {
		bin = filepath.Join(made, "Scripts", "python.exe")
	}
	for _, args := range [][]string{
		{base, "-m", "venv", made},
		{bin, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", list},
	} {
		if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
			message := strings.Join(strings.Fields(string(tail(out, 500))), " ")
			return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, message)
		}
	}
	err = os.Rename(made, dir)
	if _, statErr := os.Stat(dir); statErr == nil {
		return nil // ours, or that of a test that ran at the same time
	}
	return err
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }
