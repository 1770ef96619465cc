// Package servers starts real servers of object stores on loopback, for tests.
//
// A server is a program with a pinned version. It is installed once, outside of the tree,
// in the user's cache directory (go-orbax/servers/NAME-VERSION). What is installed there is
// used always. A test installs what is missing if ORBAX_INTEROP is set, and otherwise is
// skipped, because an installation takes minutes.
package servers

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-orbax/orbax/internal/testenv"
)

// Tool is a program with a pinned version.
type Tool struct {
	Name, Version string
	// install returns the command that installs the tool into an empty directory.
	install func(ctx context.Context, dir string) *exec.Cmd

	once sync.Once
	dir  string
	err  error
}

// GoTool returns the tool that go install makes of the package path at a version. Its
// directory has the program, under the name that go install gives it.
func GoTool(name, path, version string) *Tool {
	return &Tool{Name: name, Version: version, install: func(ctx context.Context, dir string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, "go", "install", path+"@"+version)
		cmd.Env = append(os.Environ(), "GOBIN="+dir, "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off", "GOOS=", "GOARCH=")
		cmd.Dir = dir
		return cmd
	}}
}

// NpmTool returns the tool that npm installs. Its directory has node_modules.
func NpmTool(name, version string) *Tool {
	return &Tool{Name: name, Version: version, install: func(ctx context.Context, dir string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, "npm", "install", "--prefix", dir, "--no-audit", "--no-fund", "--no-save", name+"@"+version)
		cmd.Dir = dir
		return cmd
	}}
}

// Dir returns the directory in which the tool is installed, and installs it first if it is
// missing and ORBAX_INTEROP is set. If it cannot, it skips the test; with
// ORBAX_INTEROP=require the test fails. Several processes may install a tool at the same
// time: one does, the others wait.
func (x *Tool) Dir(t testing.TB) string {
	t.Helper()
	wanted, required := testenv.Python()
	x.once.Do(func() { x.dir, x.err = x.find(wanted) })
	switch {
	case x.err == nil:
	case required:
		t.Fatalf("%s=require: %v", testenv.Interop, x.err)
	default:
		t.Skip(x.err)
	}
	return x.dir
}

// Program returns the path of a program in the directory of the tool; see [Tool.Dir].
func (x *Tool) Program(t testing.TB, name string) string {
	t.Helper()
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return filepath.Join(x.Dir(t), name)
}

// installTime is the limit of one installation, whose go install compiles several hundred
// packages.
const installTime = 25 * time.Minute

// find returns the directory of the tool, and makes it first if that is wanted.
func (x *Tool) find(wanted bool) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", x.Name, x.Version, err)
	}
	all := filepath.Join(cache, "go-orbax", "servers")
	dir := filepath.Join(all, x.Name+"-"+x.Version)
	if isDir(dir) {
		return dir, nil
	}
	if !wanted {
		return "", fmt.Errorf("the server %s %s is not installed; with %s=1 the test installs it into %s, which takes minutes", x.Name, x.Version, testenv.Interop, dir)
	}
	if err := os.MkdirAll(all, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(dir + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if isDir(dir) { // another process has installed it meanwhile
		return dir, nil
	}
	// Under its own name the directory is always complete.
	tmp, err := os.MkdirTemp(all, x.Name+"-unfinished-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	ctx, cancel := context.WithTimeout(context.Background(), installTime)
	defer cancel()
	cmd := x.install(ctx, tmp)
	cmd.WaitDelay = 10 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("the server %s %s cannot be installed: %s: %w\n%s", x.Name, x.Version, strings.Join(cmd.Args, " "), err, tail(out))
	}
	if err := os.Rename(tmp, dir); err != nil && !isDir(dir) { // without a lock, another one may have been faster
		return "", err
	}
	return dir, nil
}

func isDir(name string) bool {
	i, err := os.Stat(name)
	return err == nil && i.IsDir()
}

// tail returns the last lines of an output.
func tail(out []byte) []byte {
	lines := slices.Collect(bytes.Lines(out))
	return bytes.Join(lines[max(0, len(lines)-20):], nil)
}
