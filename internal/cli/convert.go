package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/convert"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/inspect"
	"github.com/go-orbax/orbax/safetensors"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/zarr"
)

// tensorSuffix is the ending of the names of safetensors files.
const tensorSuffix = safetensors.Ext

func (c Config) newConvert() *cobra.Command {
	f := &conversionFlags{line: c}
	cmd := &cobra.Command{
		Use:   "convert SRC DST",
		Short: "Convert a checkpoint, also from and to .safetensors",
		Long: `Convert makes a new checkpoint of a checkpoint in any layout that ls lists, or of
safetensors files. If DST ends with .safetensors, it makes a safetensors file of one
pytree of a checkpoint. It holds a few chunks of the data in memory at a time; only
PRNG keys, byte strings and JSON documents are held as a whole.

With --overwrite, convert replaces a DST that ends with .safetensors if it is a regular
file, whatever its contents. It replaces any other DST only if that is a checkpoint.

--dtype converts the arrays of its class, in checkpoints and in safetensors files:
bfloat16 leaves integers alone. Scalars and PRNG keys are never converted. An integer
out of the new type's range becomes the nearest integer in range. A float that is too
large becomes infinite, or the value that the type has in place of infinity; a float
that is too small becomes 0. A warning says for each leaf how many elements changed in
these ways.

TO A CHECKPOINT

--compression, --zarr2, --plain-files and --chunk-bytes say how the arrays are stored,
whatever the form in the source. zstd makes weights of bfloat16 about a fifth smaller,
and huffman does the same in less time; both are slower to load. auto looks at samples
and compresses arrays that shrink to less than 0.7 of their size, such as zeros and
small integers, but not weights.

Convert copies all checkpointables with the custom metadata, or only the one that
--name names. Some checkpoints are themselves their only checkpointable, such as the
flat ones of Orbax v0. For these, --name is the name of the checkpointable in DST
(default: state). With --select, only the leaves of the pytree that match a PATTERN are
converted:

  params.dense.kernel   this leaf, or all below it
  params.*.kernel       * is any text without a dot, ? one character
  params.**             ** is any number of keys

Checkpointables that are not pytrees are copied file by file, under the names of their
files. Missing chunks in a checkpoint of Orbax are damage, unless --fill-missing is
given.

FROM SAFETENSORS

SRC is a file or a directory of files. If the directory has an index, such as
model.safetensors.index.json, all files and tensors that it lists must exist, and other
files are ignored. The dots in the tensors' names make nested dicts: params.dense.kernel
becomes the leaf kernel in the dict dense in the dict params. --separator is for names
that are divided by other text, such as a slash. With --flat the whole names are the
keys of one dict. Entries of __metadata__, such as "format", become custom metadata.

TO SAFETENSORS

A tensor's name is the path of its leaf: the keys, joined with dots. Data that
safetensors cannot express goes to the file's __metadata__, so that a checkpoint that
is made of the file again has the same tree:

  - A string is an entry under the leaf's path.
  - Members of the custom metadata that are strings are entries too.
  - The entry __orbax__ has a JSON document, {"version": 1, "leaves": [...],
    "custom": ...}. It lists all leaves except arrays in nested dicts, with their
    "keys" (strings in dicts, numbers in sequences), their "kind" ("scalar",
    "string", "bytes", "None", "Dict", "List", "Tuple"; an array if absent) and
    their "prng" implementation, and has the rest of the custom metadata. Numbers
    that JSON does not have are the words NaN, Infinity and -Infinity, as Python's
    json module writes them. A file that needs none of this has no such entry, and
    neither has a file that is made of safetensors files. With --flat the keys in
    the entry are ignored.

A safetensors file does not keep the shardings of arrays, whether they were arrays of
JAX or of NumPy, the other checkpointables, and the metadata of the checkpoint's files.
If safetensors does not have an element type, such as int4 or complex128, convert
refuses it before it writes anything, unless --dtype converts it. To convert no other
integers or floats, give --select for such arrays too, and the others a file of their
own. No --dtype converts complex numbers. While the file is
written, it lies beside DST under a hidden name. If the conversion is killed, the next
one to DST removes that file.

Convert makes missing parent directories of DST.` + exitHelp,
		Example: `  orbax convert /ckpt/step_100 model.safetensors
  orbax convert /ckpt/step_100 --name params params.safetensors --dtype bfloat16
  orbax convert model.safetensors /ckpt/imported --compression zstd:3
  orbax convert /ckpt/v0/100 /ckpt/v1/100
  orbax convert /ckpt/step_100 /ckpt/serving --select 'params.**' --dtype bfloat16`,
		Args: exactly("SRC", "DST"),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, name := range []string{"compression", "zarr2", "plain-files", "chunk-bytes"} {
				f.stores = f.stores || cmd.Flags().Changed(name)
			}
			f.o.FollowLinks = c.inspector(cmd.Context(), f.fill).FollowLinks
			f.o.FillMissing = bool(f.fill)
			start := time.Now()
			done, err := f.run(cmd.Context(), args[0], args[1])
			if done != nil {
				f.warn(cmd.ErrOrStderr(), args[0], done)
			}
			if err != nil {
				return f.withPlace(cmd.Context(), args[0], convertError(err))
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s  %s  %s  %s\n", fault.Shown(fault.Redacted(args[1])), inspect.Plural(done.Leaves, "leaf"), fault.Size(done.Bytes), pace(done.Bytes, time.Since(start)))
			return err
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.o.Flat, "flat", false, "keep the tensors' names whole (from safetensors)")
	flags.StringVar(&f.separator, "separator", ".", "the `TEXT` that divides the tensors' names (from safetensors)")
	flags.StringVar(&f.o.Name, "name", "", "the checkpointable (default: all; to .safetensors: state, or the only pytree)")
	flags.StringArrayVar(&f.o.Select, "select", nil, "convert only the leaves that match `PATTERN`; may be repeated")
	f.fill.add(cmd)
	flags.BoolVar(&f.o.Overwrite, "overwrite", false, "replace DST if it exists; the old DST stays intact until the new one is complete")
	flags.StringVar(&f.compression, "compression", "none", "the compression of arrays: none, auto, huffman, zstd, zstd:LEVEL (to a checkpoint)")
	flags.BoolVar(&f.o.Storage.Zarr2, "zarr2", false, "store arrays in zarr format 2 (to a checkpoint)")
	flags.BoolVar(&f.o.Storage.PlainFiles, "plain-files", false, "store every chunk as a file (to a checkpoint)")
	flags.IntVar(&f.o.Storage.ChunkByteSize, "chunk-bytes", 0, "the largest size of a chunk before compression (to a checkpoint; default: about 8 MiB)")
	flags.StringVar(&f.dtype, "dtype", "", "convert arrays to this type, such as bfloat16")
	return cmd
}

// conversionFlags are the flags of convert.
type conversionFlags struct {
	line                          Config
	o                             convert.Options
	fill                          fillFlag
	separator, compression, dtype string
	stores                        bool // a flag says how a checkpoint is stored
}

// lowGarbage is the share of garbage at which memory is collected while a conversion
// runs. A conversion has large buffers with few pointers in them. Collecting them early
// costs nothing. By default the garbage may grow to the size of the memory in use.
const lowGarbage = 20

// early counts the running conversions, and keeps the setting that the first of them has
// changed.
var early struct {
	sync.Mutex
	running, before int
}

// collectEarly makes the process collect garbage early, until the functions that all its
// calls have returned have been called.
func collectEarly() (done func()) {
	early.Lock()
	defer early.Unlock()
	if early.running++; early.running == 1 {
		early.before = debug.SetGCPercent(lowGarbage)
	}
	return func() {
		early.Lock()
		defer early.Unlock()
		if early.running--; early.running == 0 {
			debug.SetGCPercent(early.before)
		}
	}
}

func (f *conversionFlags) run(ctx context.Context, src, dst string) (*convert.Report, error) {
	inFrom, inTo := f.line.holding(src), f.line.holding(dst)
	f.o.From, f.o.To = inFrom.Store, inTo.Store
	from, err := inFrom.argument(ctx, src)
	if err != nil {
		return nil, err
	}
	to, err := inTo.argument(ctx, dst)
	if err != nil {
		return nil, err
	}
	fromFile, toFile := isTensorFile(ctx, from), strings.HasSuffix(to.Name, tensorSuffix)
	switch {
	case fromFile && toFile:
		return nil, usagef("both SRC and DST are %s files: convert SRC to a checkpoint first, and that to DST", tensorSuffix)
	case !toFile && isFileSuffix(path.Ext(to.Name)):
		return nil, usagef("convert makes checkpoints, which are directories, and %s files, not %s", tensorSuffix, path.Ext(to.Name))
	case toFile && f.stores:
		return nil, usagef("--compression, --zarr2, --plain-files and --chunk-bytes are for making a checkpoint")
	case f.separator == "":
		return nil, usagef("--separator is empty; --flat keeps the names whole")
	case f.separator != "." && f.o.Flat:
		return nil, usagef("--separator divides names, and --flat keeps them whole")
	}
	if f.separator != "." {
		f.o.Separator = f.separator
	}
	if err := f.parseStorage(); err != nil {
		return nil, err
	}
	defer collectEarly()()
	if toFile {
		return convert.ToSafetensors(ctx, src, dst, f.o)
	}
	return convert.Copy(ctx, src, dst, f.o)
}

// holding returns the command line for SRC or DST. It drops the store if the path is that
// of safetensors files, which are on the local disk.
func (c Config) holding(given string) Config {
	if path.Ext(path.Clean(given)) == tensorSuffix {
		c.Store = nil
	}
	return c
}

// withPlace adds to an error about a missing SRC that SRC was looked for on the local
// disk, if the command line has a store.
func (f *conversionFlags) withPlace(ctx context.Context, src string, err error) error {
	if f.line.Store == nil || f.o.From != nil || !errors.Is(err, orbax.ErrNotExist) {
		return err
	}
	hint := "a SRC whose name ends with " + tensorSuffix + " is on the local disk"
	if more := f.line.holding(src).hintOf(ctx, err); more != "" {
		hint += "; " + more
	}
	return hinted{err, hint}
}

// optionFlags are the flags for options of package convert.
var optionFlags = map[string]string{"Name": "--name", "Select": "--select", "Separator": "--separator", "Flat": "--flat"}

// convertError puts an error of package convert into the words of the command line.
func convertError(err error) error {
	var option *convert.OptionError
	var name *convert.NameError
	switch {
	case errors.As(err, &option):
		err = usagef("%s %s", optionFlags[option.Option], option.Text)
		if len(option.Names) > 0 {
			err = withHint(err, "say which, such as --name %s", shellWord(option.Names[0]))
		}
	case errors.As(err, &name) && len(name.Names) > 0:
		err = withHint(err, "say which, such as --name %s", shellWord(name.Names[0]))
	case errors.As(err, &name):
		err = withHint(usageError{err}, "give it one, such as --name config")
	}
	return err
}

// maxLossesShown is the largest number of leaves that the warnings name.
const maxLossesShown = 20

// warn reports the data that the destination does not have.
func (f *conversionFlags) warn(w io.Writer, src string, r *convert.Report) {
	warn := func(format string, args ...any) {
		fmt.Fprintf(w, "orbax convert: warning: %s\n", fault.Printable(fmt.Sprintf(format, args...)))
	}
	for _, name := range r.Gone {
		warn("%s has no %s, which its entry %s lists", src, fault.Shown(name), convert.Entry)
	}
	if len(r.Dropped) > 0 {
		warn("the custom metadata of %s are a list, so its other entries are not kept: %s", src, fault.List(r.Dropped))
	}
	if r.ShardingErr != nil {
		warn("the shardings of arrays are not known: %v", r.ShardingErr)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Opaque)) {
		warn("checkpointable %s is of kind %s: its files are copied unchanged", fault.Shown(name), r.Opaque[name])
	}
	if r.Uncast {
		warn("--dtype %v converts nothing: there is no array of its class", f.o.Storage.DType)
	}
	if r.Unsharded > 0 {
		warn("the shardings of %s are not kept", inspect.Plural(r.Unsharded, "array"))
	}
	if len(r.Left) > 0 {
		warn("other checkpointables are not converted: %s", fault.List(r.Left))
	}
	for _, loss := range r.Losses[:min(len(r.Losses), maxLossesShown)] {
		warn("leaf %s: --dtype %v: %v", fault.Shown(loss.Leaf), f.o.Storage.DType, loss)
	}
	if rest := r.Losses[min(len(r.Losses), maxLossesShown):]; len(rest) > 0 {
		var sum convert.Loss
		for _, loss := range rest {
			sum.Add(loss)
		}
		warn("%s more: --dtype %v: %v", inspect.Plural(len(rest), "leaf"), f.o.Storage.DType, sum)
	}
}

// isFileSuffix reports whether a name with this ending is surely meant for a file.
func isFileSuffix(ext string) bool {
	switch strings.ToLower(ext) {
	case tensorSuffix, ".st", ".npz", ".npy", ".pt", ".pth", ".bin", ".h5", ".gguf", ".onnx",
		".msgpack", ".flax", ".ckpt", ".pkl", ".pickle":
		return true
	}
	return false
}

// isTensorFile reports whether a path is that of a safetensors file instead of a
// directory.
func isTensorFile(ctx context.Context, at storage.Location) bool {
	if !strings.HasSuffix(at.Name, tensorSuffix) {
		return false
	}
	info, err := at.Stat(ctx)
	return err != nil || !info.Dir
}

// parseStorage sets the storage options from the flags.
func (f *conversionFlags) parseStorage() (err error) {
	if f.o.Storage.ChunkByteSize < 0 {
		return usagef("--chunk-bytes %d: it must be a positive number", f.o.Storage.ChunkByteSize)
	}
	if f.dtype != "" {
		if f.o.Storage.DType, err = array.ParseDType(f.dtype); err != nil {
			return usagef("--dtype %q: there is no such type; bfloat16 is one", f.dtype)
		}
	}
	return f.parseCompression()
}

func (f *conversionFlags) parseCompression() error {
	kind, level, hasLevel := strings.Cut(f.compression, ":")
	switch {
	case f.compression == "none":
		return nil
	case f.compression == "huffman":
		f.o.Storage.Compression = zarr.Huffman()
		return nil
	case f.compression == "auto":
		f.o.Storage.Compression = zarr.Auto()
		return nil
	case kind == "zstd" && !hasLevel:
		f.o.Storage.Compression = zarr.Zstd(3)
		return nil
	case kind == "zstd":
		n, err := strconv.Atoi(level)
		if err != nil || n < -131072 || n > 22 {
			return usagef("--compression %s: the level must be a number up to 22", f.compression)
		}
		f.o.Storage.Compression = zarr.Zstd(n)
		return nil
	}
	return usagef("--compression %q: it must be none, auto, huffman, zstd or zstd:LEVEL", f.compression)
}
