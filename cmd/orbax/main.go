// Command orbax looks into, checks and converts checkpoints of machine-learning
// state in the format of Google's Orbax, whoever wrote them.
//
//	orbax ls      CKPT                list the leaves: kind, dtype, shape, bytes, sharding
//	orbax cat     CKPT LEAF[REGION]   print one leaf or a region, or write its bytes
//	orbax verify  CKPT...             read everything and check it
//	orbax hash    CKPT...             print digests of what they hold
//	orbax diff    A B                 compare two checkpoints
//	orbax convert SRC DST             make a checkpoint of another layout, or of or to .safetensors
//	orbax rm      CKPT                remove a checkpoint, or a part of one
//	orbax repair  CKPT                rebuild the index of a checkpoint of several processes
//	orbax partial ls DIR              list what is saved in parts; also finalize and abort
//	orbax version                     print the version
//
// A leaf's path is its keys joined with dots, such as params.dense.kernel. In a
// checkpoint of several parts ls prints it after the part's name and a slash,
// such as ema/dense.kernel, and cat takes it so. Results go to standard output,
// which --json makes one JSON document; errors, hints and warnings go to standard
// error, so that verbs work in pipes:
//
//	orbax ls --json /ckpt/step_100 | jq -r '.checkpointables[].leaves[].path'
//	orbax cat --raw /ckpt/step_100 params.dense.kernel | sha256sum
//	orbax verify --quiet /ckpt/step_* || echo 'do not delete the backup'
//
// # Exit status
//
//	0    done
//	1    the checkpoint or file is damaged or incomplete; of diff: there are
//	     differences
//	2    anything else: bad usage, nothing at the path, no permission, disk full …
//	130  interrupted
//
// An interrupt (Ctrl-C) or a termination signal stops the work and removes what
// was not finished: a destination is either complete or as it was. A second one
// ends the program at once.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-orbax/orbax/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	status := cli.Run(ctx, os.Args[1:], cli.Config{Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(status)
}
