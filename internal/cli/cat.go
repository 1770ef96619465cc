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
		Long: `Cat prints one leaf of a checkpoint: numbers and strings as they are, arrays in
NumPy's form, with at most 8 digits behind the point (6 digits in all for bfloat16 and
other types of ml_dtypes), of which those with more than
1000 elements are abridged, byte strings quoted. --json has all digits. Characters of a string that act on a terminal are escaped if the
output is one.

LEAF is a path as ls prints it: that of a leaf in the part that --name says, else
the name of a part, a slash, and a leaf's path in it. The name of a part that is a
JSON document prints the document, with numbers that JSON does not have as
strings; where the checkpoint is the document itself that name is ''. The name
metrics prints the metrics of a step in the same way. So does that of a stateful part
whose files are JSON documents, as the positions of data iterators are: of several it
prints an object by their names.

REGION is a part of an array, as Python writes it: in brackets, for each of the
leading axes an index or START:STOP:STEP. What is left out is the whole axis and
the step 1; negative numbers count from the end; the step is at least 1. Only the
chunks that overlap the region are read. The region of a byte string is an array.
A leaf whose name ends with these very brackets comes first.

With --raw the output is the leaf's bytes: an array's elements row-major and
little-endian, a string's or byte string's contents. All checksums of what is
read are verified before the first byte is written; for that more than 64 MiB
pass through a temporary file.

With --json the output is one document, with the whole value whatever its size:

  path, kind, dtype, shape   as in ls --json; the path with the region
  value    arrays as nested lists, those without elements as []; complex numbers
           as [real, imaginary], byte strings in base64, None as null; numbers
           that JSON does not have as "NaN", "Infinity" and "-Infinity"

Of a part that is a JSON document the path is its name, the kind "json" or
"stateful" and the value the document.` + exitHelp,
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
	cmd.Flags().StringVar(&name, "name", "", "the part of the checkpoint (default: state if there is one, else the first pytree)")
	return cmd
}
