package cli

import (
	"context"
	"flag"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// here is the directory of this package. Scripts run in other directories.
var here, _ = os.Getwd()

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"orbax": program})
}

// program runs the command line as a separate program, as cmd/orbax does.
func program() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	status := Run(ctx, os.Args[1:], Config{Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(status)
}

var update = flag.Bool("update", false, "rewrite the expected output in the scripts")
