// Package guest writes one checkpointable into a checkpoint that another program makes,
// for example a job of JAX that saves with Orbax.
//
//	err := guest.WritePart(ctx, "/ckpt/step_7.orbax-checkpoint-tmp", "go_state", state)
//
// The other program makes the directory of the checkpoint, asks this program for its part,
// writes the documents of the checkpoint, and commits it. The two programs must agree on
// the name and on the time; package coord/jax does that for jobs of JAX.
package guest

import (
	"context"
	"slices"
	"strings"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/save"
	"github.com/go-orbax/orbax/storage"
)

// WritePart writes value, a checkpointable, to the directory name in dir. dir is the
// directory of a checkpoint that another program is making, and exists. name may exist if
// it is an empty directory, as Orbax makes it. It may end with .orbax-checkpoint-tmp: a
// training.Checkpointer of Orbax gives the directory of a checkpointable its name when that
// is complete. WritePart returns when everything is durable. It writes nothing else to dir
// and commits nothing: the checkpoint has the part if the other program lists it in the
// metadata of the checkpoint, with the type of the handler, and commits.
//
// The part appears at dir/name in one step. After an error nothing is left of it. A
// process that is killed leaves a temporary directory in dir, which the next WritePart of
// that name removes. In a store that cannot rename, the part is written in its place and
// gets a commit_success.txt of its own; what a killed process leaves there makes the next
// WritePart of that name fail, until the other program removes it. dir need not exist there.
//
// WritePart fails with [orbax.ErrNotExist] if dir does not exist, and with
// [orbax.ErrExist] if name exists or the checkpoint is complete. While another WritePart
// of the same name runs, it fails with [orbax.ErrBusy]. If the other program removes or
// moves dir meanwhile, it fails too; a temporary directory may then be left in the moved
// one. It refuses with [orbax.ErrUsage] the options that concern a whole checkpoint:
// Overwrite, Atomicity, CustomMetadata, Metrics, and multihost.Together.
//
// The part has no digests, because these belong to a whole checkpoint. [orbax.Verify]
// checks it like the checkpointables of Orbax, and its chunks by their checksums.
func WritePart(ctx context.Context, dir, name string, value any, options ...orbax.SaveCheckpointablesOption) error {
	item := strings.TrimSuffix(name, storage.TempMarker)
	return orbax.SaveCheckpointables(ctx, dir, map[string]any{item: value}, append(slices.Clip(options), partOption{name, item})...)
}

// partOption makes a save the save of the checkpointable item to the directory name.
type partOption struct{ name, item string }

func (partOption) ForCheckpointables() {}

func (o partOption) ApplySave(c *save.Config) {
	c.Uncovered = true
	c.Target = func(at save.Place) save.Target {
		return &part{Place: save.Place{Location: at.Join(o.name)}, dir: at, item: o.item}
	}
}
