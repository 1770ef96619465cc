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

// Options are those of a conversion. The zero value converts all that there is, as it is.
type Options struct {
	// From, if not nil, is the store in which src is a name, and To the one in which dst is;
	// see [orbax.In]. A safetensors file is written to the local disk: [ToSafetensors] takes
	// no To.
	From, To storage.Store
	// Name is the checkpointable to convert. "" is all of them, and of a conversion to
	// safetensors the pytree "state", or the only one. Where the source is its only
	// checkpointable itself and has no names, as safetensors files and the checkpoints of
	// old versions of Orbax are, it is the name in the destination.
	Name string
	// Select converts only the leaves that match one of these patterns; see [orbax.Select].
	Select []string
	// Storage says how a checkpoint stores its arrays. Its DType converts the arrays of the
	// same class in safetensors files too, where it is the only member that may be set.
	Storage handler.StorageOptions
	// Overwrite replaces what is at the destination: a checkpoint, or a regular file.
	Overwrite bool
	// FillMissing takes chunks that the source does not have for fill value.
	FillMissing bool
	// FollowLinks lets symbolic links inside of the source lead out of it.
	FollowLinks bool
	// Flat keeps the names of tensors whole, as the keys of one dict. Otherwise Separator,
	// or a dot if it is "", divides them into the keys of nested dicts. Both are for
	// safetensors files as the source.
	Flat      bool
	Separator string
}

// Report says what a conversion has done, and what the destination does not have. One that
// failed reports what it had found until then.
type Report struct {
	Leaves int
	Bytes  int64 // of the leaves in memory
	// Losses are of the leaves of which Storage.DType changed elements that are out of its
	// range, in the order of their paths.
	Losses []Loss
	// Uncast says that Storage.DType converted no array.
	Uncast bool
	// Unsharded is how many arrays were divided among devices, which a safetensors file does
	// not say.
	Unsharded int
	// ShardingErr says why the shardings of the source's arrays are not known, if they are not.
	ShardingErr error
	// Left are the checkpointables that a safetensors file cannot hold beside the pytree.
	Left []string
	// Opaque are the checkpointables of kinds that are not known, by name, with their kinds.
	// Their files are copied as they are.
	Opaque map[string]string
	// Gone are the leaves that the entry of a safetensors file lists and the file lacks.
	Gone []string
}

// OptionError reports an option that does not fit what is converted.
type OptionError struct {
	Option string // the name of the field of [Options]
	Text   string // what is wrong with it, as a clause that follows the name
	// Names are the checkpointables that there are to choose from, if that helps.
	Names []string
}

func (e *OptionError) Error() string { return e.Option + " " + e.Text }

// Is makes the error match [orbax.ErrUsage].
func (e *OptionError) Is(target error) bool { return target == orbax.ErrUsage }

// NameError reports that Name must be given.
type NameError struct {
	// Names are the pytrees that there are to choose from; none if the source has no names
	// and needs one.
	Names []string
	text  string
}

func (e *NameError) Error() string { return e.text }

// Is makes the error match [orbax.ErrUsage].
func (e *NameError) Is(target error) bool { return target == orbax.ErrUsage }

// ToSafetensors makes a safetensors file at dst of a pytree of the checkpoint at src, or of
// several such files at src. It refuses dtypes that safetensors does not have with
// [orbax.ErrDType] before it writes anything, and a dst that is not on the local disk with
// [orbax.ErrUnsupported]. Directories that dst lacks are made.
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

// FromSafetensors makes a checkpoint at dst of the safetensors file at src, or of the directory
// of such files. If the directory has an index, such as model.safetensors.index.json, all that
// it lists must be there, and nothing else counts. What is at src and is something else is
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

// Copy makes a checkpoint at dst of what is at src, in any layout that [orbax.Open] reads, with
// its custom metadata and metrics. Checkpointables that are no pytrees are copied file by file.
// Of safetensors files it makes what [FromSafetensors] does.
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

// notTensors says that an option is for tensors as the source.
func (o *Options) notTensors() error {
	option := "Separator"
	if o.Flat {
		option = "Flat"
	}
	return &OptionError{Option: option, Text: "is for making a checkpoint of .safetensors files"}
}

// conversion is one that has its source open.
type conversion struct {
	Options
	src, dst string
	ck       *orbax.Checkpoint
	report   *Report
}

// run opens the source and converts.
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

// selection returns the options by which the source's pytree is opened.
func (c *conversion) selection() []orbax.LoadOption {
	options := inspect.OptionsOf[orbax.LoadOption](c.inspector().Fill())
	if len(c.Select) > 0 {
		options = append(options, orbax.Select(c.Select...))
	}
	return options
}

// tensors returns the tree that safetensors files at the source are, or nil.
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
