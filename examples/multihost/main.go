// Multihost lets four processes save one checkpoint together, two others load it, and
// shows what happens if one process is killed in the middle of a save:
//
//	go run ./examples/multihost
//
// It starts an etcd server and the processes itself, on this machine, takes some seconds,
// and removes everything that it has written.
//
// The part to copy from is state.go: what a process holds, save, and load; and join and
// survivors in worker.go. The story is in story.go, and children.go has the processes. A
// real program gets its rank and the number of processes from what starts it, such as
// Kubernetes or Slurm, and uses an etcd cluster.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("interrupted: %w", err)
		}
		fmt.Fprintln(os.Stderr, "multihost:", err)
		os.Exit(1)
	}
}

// run tells the story, or is one of its processes.
func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 2 && args[0] == "worker":
		return work(ctx, args[1], os.Stdin, os.Stdout)
	case len(args) > 0:
		return fmt.Errorf("unexpected argument %q", args[0])
	}
	return tell(ctx, os.Stdout)
}
