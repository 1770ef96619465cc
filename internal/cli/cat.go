package cli

import (
	"bufio"
	"errors"

	"github.com/spf13/cobra"

	"github.com/go-orbax/orbax/internal/inspect"
)

func (c Config) newCat() *cobra.Command {
	var all, raw, asJSON bool
	var name string
	var fill fillFlag
	cmd := &cobra.Command{
		Use:   "cat CKPT LEAF[REGION]",
		Short: "Print a leaf or a region of it, or write its bytes",
		Long: `Cat prints one leaf of a checkpoint. Numbers, arrays without axes and strings are
printed as they are, byte strings in quotes, and arrays with axes in the form of NumPy:
with at most 8 digits after the point, or 6 digits in all for bfloat16 and other types
of ml_dtypes, and abridged if they have more than 1000 elements. --json prints all
digits. If the output is a terminal, characters of a string that control a terminal are
escaped.

LEAF is a path as ls prints it: the path of a leaf in the checkpointable that --name
names; or the name of a checkpointable, a slash, and the path of a leaf in it. The name
of a checkpointable that is a JSON document prints the document, with numbers that
JSON does not have as strings. If the checkpoint is itself the document, its name is
''. The name metrics prints the metrics of a step in the same way. The name of a
stateful checkpointable prints its files if they are JSON documents, as the positions
of data iterators are; if there are several, it prints an object of them by file name.

REGION is a region of an array in the form of Python: in brackets, for each of the
leading axes an index or START:STOP:STEP. The default is the whole axis and step 1.
Negative numbers count from the end. The step is at least 1. Cat reads only the chunks
that overlap the region. The region of a byte string is an array. If a leaf has a name
that ends with the same brackets, cat prints that leaf.

With --raw the output is the leaf's bytes: the elements of an array, row-major and
little-endian, or the contents of a string or byte string. Cat verifies all checksums
of the data before it writes the first byte. For that, data of more than 64 MiB passes
through a temporary file.

With --json the output is one document, with the whole value whatever its size:

  path, kind, dtype, shape   as in ls --json; the path includes the region
  value    arrays as nested lists, arrays without elements as []; complex numbers
           as [real, imaginary], byte strings in base64, None as null; numbers
           that JSON does not have as "NaN", "Infinity" and "-Infinity"

For a checkpointable that is a JSON document, the path is its name, the kind is "json"
or "stateful", and the value is the document.` + exitHelp,
		Example: `  orbax cat /ckpt/step_100 step
  orbax cat /ckpt/step_100 params.dense.kernel
  orbax cat /ckpt/step_100 ema/dense.kernel
  orbax cat /ckpt/step_100 config
  orbax cat /ckpt/step_100 'params.dense.kernel[:2, -1]'
  orbax cat --raw /ckpt/step_100 params.dense.kernel >kernel.bin
  orbax cat --json /ckpt/step_100 params.dense.bias | jq '.value | max'`,
		Args: exactly("CKPT", "LEAF"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if raw && (asJSON || all) {
				return usagef("--raw stands alone")
			}
			ctx := cmd.Context()
			in := c.inspector(ctx, fill)
			ck, err := in.Open(ctx, args[0])
			if err != nil {
				return err
			}
			defer ck.Close()
			content, err := in.Find(ctx, ck, args[0], name, args[1])
			if errors.As(err, new(inspect.RegionError)) {
				return usageError{err}
			}
			if err != nil {
				return err
			}
			to := cmd.OutOrStdout()
			switch {
			case asJSON:
				to = inspect.ForJSON(to)
			case raw || !isTerminal(inspect.AsIs(to)):
				to = inspect.AsIs(to)
			}
			out := bufio.NewWriter(to)
			switch {
			case raw:
				err = content.WriteRaw(ctx, out)
			case asJSON:
				err = content.WriteJSON(ctx, out)
			default:
				err = content.Print(ctx, out, all)
			}
			if err != nil {
				return err
			}
			return out.Flush()
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "print every element of a large array")
	cmd.Flags().BoolVar(&raw, "raw", false, "write the leaf's bytes")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	fill.add(cmd)
	cmd.Flags().StringVar(&name, "name", "", "the checkpointable (default: state if there is one, else the first pytree)")
	return cmd
}
