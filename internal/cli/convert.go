package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/inspect"
	"github.com/go-orbax/orbax/safetensors"
	"github.com/go-orbax/orbax/view"
	"github.com/go-orbax/orbax/zarr"
)

const (
	tensorSuffix = safetensors.Ext
	// safetensorsFormat is what a tree of such files is called.
	safetensorsFormat = "safetensors"
)

func newConvert() *cobra.Command {
	c := &conversion{}
	cmd := &cobra.Command{
		Use:   "convert SRC DST",
		Short: "Convert a checkpoint, from and to .safetensors too",
		Long: `Convert makes a new checkpoint of one in any layout that ls lists, or of
safetensors files; or, if DST ends with .safetensors, such a file of one pytree of
a checkpoint. The data passes through memory a few chunks at a time; only PRNG
keys, byte strings and parts that are no pytrees are held as a whole.

With --overwrite a DST that ends with .safetensors is replaced if it is a regular
file, whatever is in it; a checkpoint only after it was found to be one.

--dtype converts the arrays of the same class, to a checkpoint and to safetensors:
bfloat16 leaves integers alone, and scalars and PRNG keys are never converted. An
integer outside of the new type's range becomes the nearest one in range; a float
that is too large becomes infinite, or what the type has in its place, and one that
is too small 0. A warning says of each such leaf how many elements were changed so.

TO A CHECKPOINT

The arrays are stored as --compression, --zarr2, --plain-files and --chunk-bytes
say, whatever the source has. zstd makes weights of bfloat16 about a fifth smaller,
and huffman the same in less time; both are slower to load. auto looks at samples
and compresses what shrinks to less than 0.7, such as zeros and small integers,
but not weights.

Of a checkpoint all parts are converted, or the one that --name says, with the
custom metadata. Of one that is its only part itself, such as the flat ones of
Orbax v0, --name says what the part is called in DST (default: state). With
--select only the leaves of its pytree that match a PATTERN are converted:

  params.dense.kernel   this leaf, or all below it
  params.*.kernel       * is any text without a dot, ? one character
  params.**             ** is any number of keys

Parts that are no pytrees are copied file by file, under the names of their files.
Leaves of a checkpoint of Orbax of which chunks are missing are damage, unless
--fill-missing is given.

FROM SAFETENSORS

SRC is a file or a directory of files. If the directory has an index, such as
model.safetensors.index.json, all that it lists must be there, and nothing else
counts. The dots of the tensors' names make nested dicts: params.dense.kernel
becomes the leaf kernel in the dict dense in the dict params. --separator is for
names that are divided by other text, such as a slash. With --flat the names stay
whole, as the keys of one dict. Entries of __metadata__, such as "format", become
custom metadata.

TO SAFETENSORS

Tensors are named by the leaves' paths, the keys joined with dots. What
safetensors cannot express goes to the file's __metadata__, so that the
checkpoint that is made of the file again has the same tree:

  - A string is an entry under the leaf's path.
  - Members of the custom metadata that are strings are entries, too.
  - The entry __orbax__ has a JSON document, {"version": 1, "leaves": [...],
    "custom": ...}. It lists the leaves that are not simply arrays in nested
    dicts, with their "keys" (strings in dicts, numbers in sequences), their
    "kind" ("scalar", "string", "bytes", "None", "Dict", "List", "Tuple"; an
    array if absent) and their "prng" implementation, and has the rest of the
    custom metadata. Numbers that JSON does not have are the words NaN, Infinity
    and -Infinity in it, as Python's json module writes them. A file that needs
    none of this has no such entry, nor has one that is made of safetensors files.
    With --flat its keys are ignored.

Not kept are: the shardings of arrays and whether they were of JAX or NumPy, the
other parts of the checkpoint, and the metadata of its files. Element types that
safetensors lacks, such as int4 and complex128, are refused before anything is
written, unless --dtype converts them. While the file is written it lies beside DST
under a hidden name; if the conversion is killed, the next one to DST removes it.

Missing parent directories of DST are made.` + exitHelp,
		Example: `  orbax convert /ckpt/step_100 model.safetensors
  orbax convert /ckpt/step_100 --name params params.safetensors --dtype bfloat16
  orbax convert model.safetensors /ckpt/imported --compression zstd:3
  orbax convert /ckpt/v0/100 /ckpt/v1/100
  orbax convert /ckpt/step_100 /ckpt/serving --select 'params.**' --dtype bfloat16`,
		Args: exactly("SRC", "DST"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c.src, c.dst = args[0], args[1]
			c.warnings = cmd.ErrOrStderr()
			for _, name := range []string{"compression", "zarr2", "plain-files", "chunk-bytes"} {
				c.stores = c.stores || cmd.Flags().Changed(name)
			}
			start := time.Now()
			done, err := c.run(c.lost.watch(cmd.Context()))
			if err != nil {
				return err
			}
			c.warnLost()
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s  %s  %s  %s\n", fault.Shown(c.dst), inspect.Plural(done.leaves, "leaf"), fault.Size(done.bytes), pace(done.bytes, time.Since(start)))
			return err
		},
	}
	f := cmd.Flags()
	f.BoolVar(&c.flat, "flat", false, "keep the tensors' names whole (from safetensors)")
	f.StringVar(&c.separator, "separator", dot, "the `TEXT` that divides the tensors' names (from safetensors)")
	f.StringVar(&c.name, "name", "", "the part of the checkpoint (default: all; to .safetensors state, or the only pytree)")
	f.StringArrayVar(&c.patterns, "select", nil, "convert only the leaves that match `PATTERN`; may be repeated")
	c.fill.add(cmd)
	f.BoolVar(&c.overwrite, "overwrite", false, "replace DST if it exists; it stays whole until the new one is complete")
	f.StringVar(&c.compression, "compression", "none", "of the stored arrays: none, auto, huffman, zstd, zstd:LEVEL (to a checkpoint)")
	f.BoolVar(&c.storage.Zarr2, "zarr2", false, "store arrays in zarr format 2 (to a checkpoint)")
	f.BoolVar(&c.storage.PlainFiles, "plain-files", false, "store every chunk as a file (to a checkpoint)")
	f.IntVar(&c.storage.ChunkByteSize, "chunk-bytes", 0, "the most that a chunk has before compression (to a checkpoint; default: about 8 MiB)")
	f.StringVar(&c.dtype, "dtype", "", "convert arrays to this type, such as bfloat16")
	return cmd
}

// conversion is a command line of convert.
type conversion struct {
	src, dst    string
	place       string // of dst on the disk
	name        string
	flat        bool
	separator   string
	overwrite   bool
	patterns    []string
	fill        fillFlag
	compression string
	dtype       string
	stores      bool // it was said how a checkpoint is stored
	storage     handler.StorageOptions
	warnings    io.Writer
	lost        losses
}

// converted is what a conversion has done.
type converted struct {
	leaves int
	bytes  int64
}

func (c *conversion) run(ctx context.Context) (*converted, error) {
	src, err := onDisk(c.src)
	if err != nil {
		return nil, err
	}
	if c.place, err = onDisk(c.dst); err != nil {
		return nil, err
	}
	fromFile, toFile := isTensorPath(src), strings.HasSuffix(c.place, tensorSuffix)
	switch {
	case fromFile && toFile:
		return nil, usagef("both SRC and DST are %s files: convert SRC to a checkpoint first, and that to DST", tensorSuffix)
	case !toFile && isFileSuffix(filepath.Ext(c.place)):
		return nil, usagef("convert makes checkpoints, which are directories, and %s files, not %s", tensorSuffix, filepath.Ext(c.place))
	case toFile && c.stores:
		return nil, usagef("--compression, --zarr2, --plain-files and --chunk-bytes are for making a checkpoint")
	}
	if err := c.parseStorage(); err != nil {
		return nil, err
	}
	// What passes through memory is buffers of many chunks and few pointers: to
	// collect them early costs nothing, and as many again would lie about else.
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	ck, err := inspector(ctx, c.fill).Open(ctx, c.src)
	if err != nil {
		return nil, err
	}
	defer ck.Close()
	var tensors *view.Tree
	if len(ck.Names()) == 0 {
		t, err := inspect.OpenTree(ctx, ck, c.src, "", c.selection()...)
		switch {
		case err != nil && !errors.Is(err, inspect.ErrNoPytree):
			return nil, err
		case err == nil && t.Metadata().Format == safetensorsFormat:
			tensors = t
		}
	}
	switch {
	case c.separator == "":
		return nil, usagef("--separator is empty; --flat keeps the names whole")
	case c.separator != dot && c.flat:
		return nil, usagef("--separator divides names, and --flat keeps them whole")
	case c.separator != dot && (tensors == nil || toFile):
		return nil, usagef("--separator is for making a checkpoint of %s files", tensorSuffix)
	case c.flat && (tensors == nil || toFile):
		return nil, usagef("--flat is for making a checkpoint of %s files", tensorSuffix)
	case toFile:
		return c.exportFile(ctx, ck)
	case tensors != nil:
		return c.importFiles(ctx, tensors)
	}
	return c.copyCheckpoint(ctx, ck)
}

// isFileSuffix reports whether a name that ends so is surely meant for a file.
func isFileSuffix(ext string) bool {
	switch strings.ToLower(ext) {
	case tensorSuffix, ".st", ".npz", ".npy", ".pt", ".pth", ".bin", ".h5", ".gguf", ".onnx",
		".msgpack", ".flax", ".ckpt", ".pkl", ".pickle":
		return true
	}
	return false
}

// isTensorPath reports whether a path is that of a safetensors file, rather than
// of a directory.
func isTensorPath(path string) bool {
	if !strings.HasSuffix(path, tensorSuffix) {
		return false
	}
	info, err := os.Stat(path)
	return err != nil || !info.IsDir()
}

// parseStorage completes what the flags say of the arrays.
func (c *conversion) parseStorage() (err error) {
	if c.storage.ChunkByteSize < 0 {
		return usagef("--chunk-bytes %d: it is a positive number", c.storage.ChunkByteSize)
	}
	if c.dtype != "" {
		if c.storage.DType, err = array.ParseDType(c.dtype); err != nil {
			return usagef("--dtype %q: there is no such type; bfloat16 is one", c.dtype)
		}
	}
	return c.parseCompression()
}

func (c *conversion) parseCompression() error {
	kind, level, hasLevel := strings.Cut(c.compression, ":")
	switch {
	case c.compression == "none":
		return nil
	case c.compression == "huffman":
		c.storage.Compression = zarr.Huffman()
		return nil
	case c.compression == "auto":
		c.storage.Compression = zarr.Auto()
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
	return usagef("--compression %q: it is none, auto, huffman, zstd or zstd:LEVEL", c.compression)
}

func (c *conversion) warn(format string, args ...any) {
	fmt.Fprintf(c.warnings, "orbax convert: warning: %s\n", fault.Printable(fmt.Sprintf(format, args...)))
}

// mayReplace refuses a destination that exists.
func (c *conversion) mayReplace(ctx context.Context) error {
	info, err := os.Lstat(c.place)
	switch {
	case os.IsNotExist(err):
		return nil
	case err != nil:
		return err
	case !c.overwrite:
		err := fmt.Errorf("%s: %w", c.dst, orbax.ErrExist)
		if !info.IsDir() && !strings.HasSuffix(c.place, tensorSuffix) {
			return fmt.Errorf("%w, and is no directory, which a checkpoint is", err)
		}
		if info.IsDir() {
			if ok, _ := orbax.IsCheckpoint(ctx, c.dst); !ok {
				return err // --overwrite may refuse it as well
			}
		}
		return withHint(err, "--overwrite replaces it")
	case strings.HasSuffix(c.place, tensorSuffix) && !info.Mode().IsRegular():
		return fmt.Errorf("%s: will not overwrite: not a regular file", c.dst)
	}
	return nil
}
