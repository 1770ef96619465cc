package convert

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/inspect"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/view"
	"github.com/go-orbax/orbax/zarr"
)

// Options are the options of a conversion. The zero value converts everything and changes
// nothing.
type Options struct {
	// From, if not nil, is the store in which src is a name. To, if not nil, is the store
	// in which dst is a name. See [orbax.In]. A safetensors file is written to the local
	// disk, so [ToSafetensors] refuses To.
	From, To storage.Store
	// Name is the checkpointable to convert. "" converts all checkpointables; in a
	// conversion to safetensors it means the pytree "state", or the only pytree. Some
	// sources are themselves their only checkpointable and have no names: safetensors
	// files, and checkpoints of old versions of Orbax. For these, Name is the name in the
	// destination.
	Name string
	// Select, if not empty, converts only the leaves that match one of these patterns;
	// see [orbax.Select].
	Select []string
	// Storage says how a checkpoint stores its arrays. Storage.DType also converts the
	// arrays of its class for safetensors files; no other field may be set for them.
	Storage handler.StorageOptions
	// Overwrite replaces a checkpoint or a regular file at the destination.
	Overwrite bool
	// FillMissing gives chunks that the source does not have the fill value.
	FillMissing bool
	// FollowLinks allows symbolic links in the source to lead out of it.
	FollowLinks bool
	// Flat makes the whole names of tensors the keys of one dict. Without Flat, the names
	// are divided at Separator, or at dots if Separator is "", into the keys of nested
	// dicts. Both fields are for safetensors files as the source.
	Flat      bool
	Separator string
}

// Report describes the results of a conversion, and the data that the destination does
// not have. A conversion that fails returns the report up to its failure, or nil if an
// option does not fit or the source cannot be opened.
type Report struct {
	Leaves int
	Bytes  int64 // size of the leaves in memory
	// Losses has an entry for each leaf with elements that are out of the range of
	// Storage.DType. The entries are in the order of the leaves' paths.
	Losses []Loss
	// Uncast says that Storage.DType converted no array.
	Uncast bool
	// Unsharded is the number of arrays whose sharding is not in the copy: they are divided
	// among devices in the source, and a safetensors file does not record that.
	Unsharded int
	// ShardingErr says why the shardings of the source's arrays are unknown. It is nil if
	// they are known.
	ShardingErr error
	// Left are the checkpointables that a safetensors file cannot hold beside the pytree.
	Left []string
	// Opaque maps the names of checkpointables of unknown kinds to the kinds. Their files
	// are copied unchanged.
	Opaque map[string]string
	// Gone are the leaves that the entry of a safetensors file lists but the file does
	// not have.
	Gone []string
	// Dropped are the entries of a safetensors file's metadata that the checkpoint does
	// not have. Its custom metadata are a list, which has no place for them.
	Dropped []string
}

// OptionError reports an option that does not fit the conversion.
type OptionError struct {
	Option string // the name of the field of [Options]
	Text   string // the problem, as a clause that follows the name
	// Names are the checkpointables to choose from, if that helps.
	Names []string
}

func (e *OptionError) Error() string { return e.Option + " " + e.Text }

// Is makes the error match [orbax.ErrUsage].
func (e *OptionError) Is(target error) bool { return target == orbax.ErrUsage }

// NameError reports that Options.Name must be set.
type NameError struct {
	// Names are the pytrees to choose from. It is empty if the source has no names and
	// needs one.
	Names []string
	text  string
}

func (e *NameError) Error() string { return e.text }

// Is makes the error match [orbax.ErrUsage].
func (e *NameError) Is(target error) bool { return target == orbax.ErrUsage }

// ToSafetensors makes a safetensors file at dst. The source at src is a checkpoint with a
// pytree, or several safetensors files. It makes missing directories of dst. It writes
// nothing if it fails with [orbax.ErrDType], because safetensors does not have a dtype,
// or with [orbax.ErrUnsupported], because dst is not on the local disk.
func ToSafetensors(ctx context.Context, src, dst string, o Options) (*Report, error) {
	arrays := o.Storage
	arrays.DType = array.Invalid
	switch {
	case o.To != nil:
		return nil, &OptionError{Option: "To", Text: "is for making a checkpoint; a safetensors file is written to the local disk"}
	case o.Flat || o.Separator != "":
		return nil, o.notTensors()
	case arrays.PerLeaf != nil || arrays.Compression != (zarr.Compression{}) || arrays.Zarr2 || arrays.PlainFiles || arrays.ChunkByteSize != 0 ||
		arrays.DataFileSize != 0 || len(arrays.ShardAxes) > 0:
		return nil, &OptionError{Option: "Storage", Text: "is for making a checkpoint, except its DType"}
	}
	return o.run(ctx, src, dst, func(ctx context.Context, c *conversion) error { return c.exportFile(ctx) })
}

// FromSafetensors makes a checkpoint at dst of the safetensors file, or of the directory
// of safetensors files, at src. If the directory has an index, such as
// model.safetensors.index.json, all files and tensors that it lists must exist, and other
// files are ignored. If src is something else, the error matches
// [orbax.ErrInvalidCheckpoint].
func FromSafetensors(ctx context.Context, src, dst string, o Options) (*Report, error) {
	return o.run(ctx, src, dst, func(ctx context.Context, c *conversion) error {
		t, err := c.tensors(ctx)
		switch {
		case err != nil:
			return err
		case t == nil:
			return fmt.Errorf("%s: %w: it has no safetensors files", src, orbax.ErrInvalidCheckpoint)
		}
		return c.importFiles(ctx, t)
	})
}

// Copy makes a checkpoint at dst of the checkpoint at src, with its custom metadata and
// metrics. The checkpoint at src may have any layout that [orbax.Open] reads. It copies
// checkpointables that are not pytrees file by file. For safetensors files it does the
// same as [FromSafetensors].
func Copy(ctx context.Context, src, dst string, o Options) (*Report, error) {
	return o.run(ctx, src, dst, func(ctx context.Context, c *conversion) error {
		t, err := c.tensors(ctx)
		switch {
		case err != nil:
			return err
		case t != nil:
			return c.importFiles(ctx, t)
		case o.Flat || o.Separator != "":
			return o.notTensors()
		}
		return c.copyCheckpoint(ctx)
	})
}

// notTensors returns the error for an option that needs safetensors files as the source.
func (o *Options) notTensors() error {
	option := "Separator"
	if o.Flat {
		option = "Flat"
	}
	return &OptionError{Option: option, Text: "is for making a checkpoint of .safetensors files"}
}

// conversion is a conversion with an open source.
type conversion struct {
	Options
	src, dst string
	ck       *orbax.Checkpoint
	report   *Report
}

// run opens the source and calls convert.
func (o Options) run(ctx context.Context, src, dst string, convert func(context.Context, *conversion) error) (*Report, error) {
	if o.Flat && o.Separator != "" {
		return nil, &OptionError{Option: "Separator", Text: "divides names, and Flat keeps them whole"}
	}
	ck, err := o.inspector().Open(ctx, src)
	if err != nil {
		return nil, err
	}
	defer ck.Close()
	c := &conversion{Options: o, src: src, dst: dst, ck: ck, report: &Report{}}
	var lost losses
	err = convert(lost.watch(ctx), c)
	c.report.Losses = lost.list()
	return c.report, err
}

func (o *Options) inspector() inspect.Inspector {
	return inspect.Inspector{Store: o.From, FollowLinks: o.FollowLinks, FillMissing: o.FillMissing}
}

// selection returns the options for opening the source's pytree.
func (c *conversion) selection() []orbax.LoadOption {
	options := inspect.OptionsOf[orbax.LoadOption](c.inspector().Fill())
	if len(c.Select) > 0 {
		options = append(options, orbax.Select(c.Select...))
	}
	return options
}

// tensors returns the tree of the safetensors files at the source. It returns nil if the
// source is something else.
func (c *conversion) tensors(ctx context.Context) (*view.Tree, error) {
	if len(c.ck.Names()) > 0 {
		return nil, nil
	}
	t, err := c.inspector().OpenTree(ctx, c.ck, c.src, "", c.selection()...)
	switch {
	case errors.Is(err, inspect.ErrNoPytree):
		return nil, nil
	case err != nil:
		return nil, err
	case t.Metadata().Format != safetensorsFormat:
		return nil, nil
	}
	return t, nil
}
