// Command orbax inspects, checks and converts checkpoints of machine-learning state in
// the format of Google's Orbax, whatever program wrote them.
//
//	orbax ls      CKPT                list the leaves: kind, dtype, shape, bytes, sharding
//	orbax cat     CKPT LEAF[REGION]   print one leaf or a region, or write its bytes
//	orbax verify  CKPT...             read everything and check it
//	orbax hash    CKPT...             print digests of the contents
//	orbax diff    A B                 compare two checkpoints
//	orbax convert SRC DST             change the layout, or convert to or from .safetensors
//	orbax rm      CKPT                remove a checkpoint, or one checkpointable of it
//	orbax repair  CKPT                rebuild the index of a checkpoint of several processes
//	orbax gc      ROOT                remove what writers that have died have left
//	orbax partial ls DIR              list sessions of partial saves; also finalize and abort
//	orbax version                     print the version
//
// A leaf's path is its keys joined with dots, such as params.dense.kernel. In a
// checkpoint of several checkpointables, ls prints it after the name of its
// checkpointable and a slash, such as ema/dense.kernel, and cat takes it in this form.
// Results go to standard output; with --json they are one JSON document. Errors, hints
// and warnings go to standard error, so that verbs work in pipes:
//
//	orbax ls --json /ckpt/step_100 | jq -r '.checkpointables[].leaves[].path'
//	orbax cat --raw /ckpt/step_100 params.dense.kernel | sha256sum
//	orbax verify --quiet /ckpt/step_* || echo 'do not delete the backup'
//
// # Exit status
//
//	0    done
//	1    the checkpoint or file is damaged or incomplete; for diff: there are
//	     differences
//	2    anything else: bad usage, nothing at the path, no permission, disk full …
//	130  interrupted
//
// An interrupt (Ctrl-C) or a termination signal stops the work and removes unfinished
// output: a destination is either complete or as it was before. A second interrupt ends
// the program at once.
package main

import (
	"os"

	"github.com/go-orbax/orbax/internal/cli"
)

func main() { os.Exit(cli.Main()) }
