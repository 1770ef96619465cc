package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/zarr"
)

const tensorSuffix = ".safetensors"

func newConvert() *cobra.Command {
	c := &conversion{}
	cmd := &cobra.Command{
		Use:   "convert SRC DST",
		Short: "Convert between a checkpoint and a .safetensors file",
		Long: `Convert makes a .safetensors file of one pytree of a checkpoint, or a checkpoint
of a .safetensors file. Which way follows from the paths: the one that ends with
.safetensors is the file. The data passes through memory a few chunks at a time;
only PRNG keys and byte strings are held as a whole.

Tensors are named by the leaves' paths, the keys joined with dots. The other way
the dots of the tensors' names make nested dicts: params.dense.kernel becomes
the leaf kernel in the dict dense in the dict params. With --flat the names stay
whole, as the keys of one dict.

What safetensors cannot express goes to the file's __metadata__, so that the
checkpoint that is made of the file again has the same tree:

  - A string is an entry under the leaf's path.
  - Members of the custom metadata that are strings are entries, too.
  - The entry __orbax__ has a JSON document, {"version": 1, "leaves": [...],
    "custom": ...}. It lists the leaves that are not simply arrays in nested
    dicts, with their "keys" (strings in dicts, numbers in sequences), their
    "kind" ("scalar", "string", "bytes", "None", "Dict", "List", "Tuple"; an
    array if absent) and their "prng" implementation, and has the rest of the
    custom metadata. A file that needs none of this has no such entry.

Entries of __metadata__ that __orbax__ does not list as strings, such as "format"
in files of other programs, become custom metadata. With --flat the keys in
__orbax__ are ignored.

Not kept are: the shardings of arrays and whether they were of JAX or NumPy, the
other parts of the checkpoint, and the metadata of its files. Element types that
safetensors lacks, such as int4 and complex128, are refused before anything is
written.

--compression, --zarr2 and --plain-files say how a checkpoint is stored. Missing
parent directories of DST are made.` + exitHelp,
		Example: `  orbax convert /ckpt/step_100 model.safetensors
  orbax convert /ckpt/step_100 --name params params.safetensors
  orbax convert model.safetensors /ckpt/imported --compression zstd:3`,
		Args: exactly("SRC", "DST"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c.src, c.dst = args[0], args[1]
			c.warnings = cmd.ErrOrStderr()
			c.compressed = cmd.Flags().Changed("compression")
			start := time.Now()
			done, err := c.run(cmd.Context())
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s  %s  %s  %s\n", c.dst, plural(done.leaves, "leaf"), size(done.bytes), pace(done.bytes, time.Since(start)))
			return err
		},
	}
	f := cmd.Flags()
	f.BoolVar(&c.flat, "flat", false, "keep the tensors' names whole (from .safetensors)")
	f.StringVar(&c.name, "name", "", "the part of the checkpoint (default: state; from a checkpoint without it, the only pytree)")
	f.BoolVar(&c.overwrite, "overwrite", false, "replace DST if it exists; it stays whole until the new one is complete")
	f.StringVar(&c.compression, "compression", "none", "of the stored arrays: none, zstd, zstd:LEVEL (to a checkpoint)")
	f.BoolVar(&c.storage.Zarr2, "zarr2", false, "store arrays in zarr format 2 (to a checkpoint)")
	f.BoolVar(&c.storage.PlainFiles, "plain-files", false, "store every chunk as a file (to a checkpoint)")
	return cmd
}

// conversion is a command line of convert.
type conversion struct {
	src, dst    string
	name        string
	flat        bool
	overwrite   bool
	compression string
	compressed  bool // compression was given
	storage     handler.StorageOptions
	warnings    io.Writer
}

// converted is what a conversion has done.
type converted struct {
	leaves int
	bytes  int64
}

func (c *conversion) run(ctx context.Context) (*converted, error) {
	fromFile, toFile := strings.HasSuffix(c.src, tensorSuffix), strings.HasSuffix(c.dst, tensorSuffix)
	info, err := os.Stat(c.src)
	switch {
	case fromFile && toFile:
		return nil, usagef("both SRC and DST are %s files", tensorSuffix)
	case !fromFile && !toFile:
		return nil, withHint(usagef("neither SRC nor DST ends with %s", tensorSuffix),
			"convert does not make one checkpoint of another; load and save it with the library")
	case fromFile && os.IsNotExist(err):
		err = fmt.Errorf("%s: %w", c.src, orbax.ErrNotExist)
		if near := closestPath(c.src, isTensorFile); near != "" {
			err = withHint(err, "did you mean %s?", near)
		}
		return nil, err
	case fromFile && err != nil:
		return nil, err
	case fromFile && !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: not a regular file", c.src)
	}
	if fromFile {
		if err := c.parseCompression(); err != nil {
			return nil, err
		}
		return c.importFile(ctx)
	}
	switch {
	case c.flat:
		return nil, usagef("--flat is for making a checkpoint of a %s file", tensorSuffix)
	case c.compressed, c.storage.Zarr2, c.storage.PlainFiles:
		return nil, usagef("--compression, --zarr2 and --plain-files are for making a checkpoint")
	}
	return c.exportFile(ctx)
}

func (c *conversion) parseCompression() error {
	kind, level, hasLevel := strings.Cut(c.compression, ":")
	switch {
	case c.compression == "none":
		return nil
	case kind == "zstd" && !hasLevel:
		c.storage.Compression = zarr.Zstd(3)
		return nil
	case kind == "zstd":
		n, err := strconv.Atoi(level)
		if err != nil || n < -131072 || n > 22 {
			return usagef("--compression %s: the level is a number up to 22", c.compression)
		}
		c.storage.Compression = zarr.Zstd(n)
		return nil
	}
	return usagef("--compression %q: it is none, zstd or zstd:LEVEL", c.compression)
}

func (c *conversion) warn(format string, args ...any) {
	fmt.Fprintf(c.warnings, "orbax convert: warning: "+format+"\n", args...)
}

// mayReplace refuses a destination that exists.
func (c *conversion) mayReplace() error {
	info, err := os.Lstat(c.dst)
	switch {
	case os.IsNotExist(err):
		return nil
	case err != nil:
		return err
	case !c.overwrite:
		return withHint(fmt.Errorf("%s: %w", c.dst, orbax.ErrExist), "--overwrite replaces it")
	case strings.HasSuffix(c.dst, tensorSuffix) && !info.Mode().IsRegular():
		return fmt.Errorf("%s: will not overwrite: not a regular file", c.dst)
	}
	return nil
}
