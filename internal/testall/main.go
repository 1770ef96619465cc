// Command testall runs all tests of all modules, and reports its progress:
//
//	go run ./internal/testall
//
// First it tests the packages whose tests take seconds. Then it makes the Python
// environment of the tests with the real Orbax, once and outside of the time limit of go
// test, and tests the other packages with ORBAX_INTEROP=1. If there is no Python that is
// new enough, it says so and leaves those tests out; with ORBAX_INTEROP=require in the
// environment that is an error. With ORBAX_LONG_TESTS=1 the long tests run too; with
// ORBAX_LONG_TESTS=all they flip each bit instead of samples. Arguments, such as -race,
// are passed to go test. With -h it prints its help alone.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/go-orbax/orbax/internal/pyenv"
	"github.com/go-orbax/orbax/internal/testenv"
)

// module is the path of the module, which reports leave out.
const module = "github.com/go-orbax/orbax"

// slow lists the packages whose tests take more than some seconds on two cores. A slow
// package that is missing here is only tested earlier.
var slow = []string{"", "/coord/etcd", "/coord/jax", "/examples/multihost", "/storage", "/storage/cloud/internal/servers", "/storage/cloud/s3", "/storage/cloud/gcs", "/storage/cloud/azure", "/partial", "/training", "/internal/cli", "/examples/quickstart", "/interop/layouts", "/interop"}

// timeLimit is the time limit of one package: several times the duration of the slowest
// package on a machine with two busy cores.
const timeLimit = 40 * time.Minute

// usage is the help.
const usage = `usage: go run ./internal/testall [-h] [ARGUMENTS OF go test]

Runs all tests of the module, the quick packages first, and reports its progress.
Arguments, such as -race or -run TestSave, are passed to go test.

It makes the Python environment of the tests with the real Orbax, once (about 500 MB).
Without a Python that is new enough it leaves those tests out.

Environment:
  ORBAX_INTEROP=require   fail if there is no Python environment, or no server of object stores
  ORBAX_LONG_TESTS=1      run the long tests too
  ORBAX_LONG_TESTS=all    run the long tests, which then flip each bit
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "testall:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, args []string) error {
	if slices.ContainsFunc(args, isHelp) {
		_, err := io.WriteString(out, usage)
		return err
	}
	started := time.Now()
	quick, late, err := packages(ctx)
	if err != nil {
		return err
	}
	var total counts
	fmt.Fprintf(out, "== quick tests: %d packages (with empty caches their dependencies are fetched and compiled first)\n", len(quick))
	if err := test(ctx, out, &total, args, quick); err != nil {
		return err
	}
	left, err := environment(ctx, out)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "== longer tests: %d packages\n", len(late))
	err = test(ctx, out, &total, args, late)
	if left != "" {
		fmt.Fprintln(out, left)
	}
	fmt.Fprintf(out, "== %s\n%d passed, %d failed, %d skipped\n", time.Since(started).Round(time.Second), total.passed, total.failed, total.skipped)
	if err == nil && total.failed > 0 {
		err = errors.New("tests failed")
	}
	return err
}

// isHelp reports whether an argument asks for help.
func isHelp(arg string) bool { return slices.Contains([]string{"-h", "-help", "--help"}, arg) }

// packages lists the packages of all modules: first those whose tests take seconds, then
// the others, the slowest last.
func packages(ctx context.Context) (quick, late []string, err error) {
	cmd := exec.CommandContext(ctx, "go", "list", "work")
	cmd.Stderr = os.Stderr
	listed, err := cmd.Output()
	if err != nil {
		return nil, nil, fmt.Errorf("go list: %w", err)
	}
	all := strings.Fields(string(listed))
	for _, p := range slow {
		if slices.Contains(all, module+p) {
			late = append(late, module+p)
		}
	}
	quick = slices.DeleteFunc(all, func(p string) bool { return slices.Contains(late, p) })
	return quick, late, nil
}

// environment makes the Python environment, and lets the tests that need it run. If it
// cannot, it returns a line that says which tests are left out.
func environment(ctx context.Context, out io.Writer) (left string, err error) {
	wanted, required := testenv.Python()
	env, err := pyenv.FindAll(ctx)
	if errors.Is(err, pyenv.ErrNotMade) {
		fmt.Fprintf(out, "== Python: installing the real Orbax into %s, once (about 500 MB are fetched; this can take minutes)\n", env.Dir)
		env, err = pyenv.Make(ctx, out)
	}
	switch {
	case err == nil:
		fmt.Fprintf(out, "== Python: %s\n", env.Dir)
		if !wanted {
			err = os.Setenv(testenv.Interop, "1")
		}
		return "", err
	case required || ctx.Err() != nil:
		return "", err
	}
	left = fmt.Sprintf("== Python: the tests that run the real Orbax are left out: %v", err)
	fmt.Fprintln(out, left)
	return left, nil
}
