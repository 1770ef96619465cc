package orbax

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/config"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/view"
)

// Mapped makes a load through an open [Checkpoint] copy nothing: its arrays are views of
// the checkpoint's files, mapped into memory. The values are the same as without it, and
// [Stats] say how much was mapped. The load reads every mapped byte once, to verify the
// stored checksums; [MappedUnverified] leaves that to [Checkpoint.VerifyMapped].
//
// The arrays, and the slices and tensors that are made from them, are valid until
// [Checkpoint.Close]. A program that uses one later crashes ("unexpected fault address");
// it never sees other data. Because addresses are not used again, one process can map 32
// TiB in its life, for example a model of 8 GiB 4096 times. A load that needs more fails
// with an error that matches [ErrNoMemory]. The process then has to be restarted, or to
// load without this option. An asynchronous save that is [Immutable] uses the arrays
// until it has ended. Without Close the mappings stay for the life of the process, and a
// file that is deleted meanwhile keeps its room on disk.
//
// The program may write to the arrays. A write changes its own copy of the page, and
// neither the file nor the arrays of another load. Leaves that share one stored array,
// such as tied weights, may share their memory.
//
// The arrays stay as they are if the checkpoint is deleted, renamed or overwritten. The
// memory changes or faults only if a file itself is truncated or written to, which this
// module never does, or if its disk is gone. The memory belongs to the page cache: the
// system may take it back and read it again from the file, and these bytes are not
// verified again.
//
// A load maps elements that are stored as they are in memory, if it wants 64 KiB or more
// from a file:
//   - arrays that this module saved without compression, if they are one chunk or their
//     chunks begin on pages;
//   - arrays of other writers with the same layout;
//   - arrays of safetensors files.
//
// A load reads the following as usual:
//   - compressed arrays, bools, and elements of less than a byte;
//   - arrays that are not aligned in their file;
//   - arrays that a [Transform] or [Cast] changes, padding included;
//   - arrays that go into memory that the target of the load already has;
//   - the shards of an *array.Sharded;
//   - everything if the system or the store cannot map files: on Windows, in an embed.FS,
//     or in a process that has mapped half of the number that the system allows.
//
// The functions of this package that open a path themselves refuse this option, because
// they close the checkpoint before they return. The loads of a training.Checkpointer and
// training.ReadOptions.Load refuse it for the same reason, and so do functions that do
// not load, such as [Metadata], [Hash] and [Diff].
func Mapped() LoadCheckpointablesOption {
	return loadOption(func(c *config.Load) { c.Mapping = config.MapVerified })
}

// MappedUnverified is [Mapped] without reading the bytes. The load takes as long as
// reading the checkpoint's documents, and damage goes unnoticed.
// [Checkpoint.VerifyMapped] verifies arrays before they are used.
func MappedUnverified() LoadCheckpointablesOption {
	return loadOption(func(c *config.Load) { c.Mapping = config.MapUnverified })
}

// VerifyMapped verifies the stored checksums of mapped arrays that were loaded through c.
// Without arguments it verifies all of them, otherwise those that the given arrays are,
// or are made from. The error, which matches [ErrCorrupt], names every damaged leaf.
// Memory that the program has written to no longer matches its checksum. VerifyMapped
// skips arrays that are not mapped, because they were verified when they were read. Files
// without checksums, such as safetensors files, cannot be verified.
func (c *Checkpoint) VerifyMapped(ctx context.Context, arrays ...*array.Array) error {
	err := c.mapped.Verify(ctx, arrays...)
	return wrap(ctx, "verify", c.path, cmp.Or(c.isOpen(), err))
}

// checkLoading refuses Mapped where the memory would not outlive the call, and options
// that come too late.
func (c *Checkpoint) checkLoading(cfg *loadConfig) error {
	if cfg.Mapping != config.MapNothing && cfg.HandOver {
		return fmt.Errorf("%w: processes that hand over what they load cannot map it; leave out Mapped, or HandOver", fault.ErrUsage)
	}
	if cfg.Mapping == config.MapNothing || !c.opened.OneCall {
		return c.checkOpening(&cfg.Open)
	}
	return fmt.Errorf("%w: what Mapped loads is valid until the checkpoint is closed, which this function does; "+
		"use Open and a method of the Checkpoint that it returns", fault.ErrUsage)
}

// checkReading refuses options for loads where there is none.
func (c *Checkpoint) checkReading(cfg *loadConfig) error {
	switch {
	case cfg.Mapping != config.MapNothing:
		return fmt.Errorf("%w: Mapped is for loads", fault.ErrUsage)
	case cfg.Together:
		return fmt.Errorf("%w: Together is for saves and loads", fault.ErrUsage)
	case cfg.Reports != nil || cfg.Progress != nil:
		return fmt.Errorf("%w: Report and Progress are for saves and loads", fault.ErrUsage)
	}
	return c.checkOpening(&cfg.Open)
}

// loadOptions returns the options of a load for its handler.
func (c *Checkpoint) loadOptions(cfg *loadConfig) handler.LoadOptions {
	o := cfg.Handler
	if cfg.Together {
		p := cfg.Process()
		o.Process = &p
	}
	if cfg.Mapping != config.MapNothing {
		mapped := func(_ context.Context, t *view.Tree) (*view.Tree, error) {
			return t.Mapped(&c.mapped, cfg.Mapping == config.MapVerified), nil
		}
		o.Views = append(slices.Clip(o.Views), mapped)
	}
	return o
}
