package cli

import (
	"cmp"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/inspect"
)

func (c Config) newLs() *cobra.Command {
	var asJSON bool
	var name string
	var fill fillFlag
	cmd := &cobra.Command{
		Use:   "ls CKPT",
		Short: "List the contents of a checkpoint, or the steps of a run",
		Long: `Ls lists every leaf of a checkpoint: its path, kind, dtype, shape, size in memory
and sharding. Then it lists the metrics of a step and the custom metadata, abridged
if they are long. It reads no array data.

CKPT is the directory of a checkpoint of Orbax, old or new, or of one checkpointable
of it (/ckpt/step_100/params); a directory of safetensors files, or one such file; a
directory of zarr arrays, in files or in an OCDBT database; or a file of Flax. A path
may be a file:// URL.

CKPT may also be a run: a directory with checkpoints whose names end in a number. Ls
then lists these steps in the order of their numbers, and after them the other
checkpoints in the directory: when each was committed, how many leaves it has, their
size in memory, and its metrics. Last comes the custom metadata of the run.

A checkpoint can have several checkpointables. Then each leaf's path follows the name
of its checkpointable and a slash; cat takes this form too. Checkpointables that are
not pytrees are listed with their kind. With --name, ls lists one checkpointable. Its
paths have no such name, and cat takes them with the same --name.

The document of --json has the following members. Unknown values are null.

  path, init_time, commit_time, custom_metadata, metrics
  checkpointables   list, by name, of
    name, kind      the kind is "pytree", "json", "proto", "stateful", "unknown",
                    or the checkpoint's own word; the name is "" if the checkpoint
                    is itself its only checkpointable
    format          of pytrees: "ocdbt+zarr3", "files+zarr2", "safetensors" …
    bytes           of pytrees: size of all leaves in memory
    stored_bytes    of pytrees: size of all leaves as stored
    leaves          of pytrees: list, in order, of
      path          the keys joined with dots
      keys          the keys: strings in dicts, numbers in sequences
      kind          "jax.Array", "np.ndarray", "scalar", "string", "bytes",
                    "None", "Dict", "List" or "Tuple"; the last three are empty
      dtype, shape, chunk_shape, codecs, prng_impl, sharding
      bytes, stored_bytes
      missing_chunks  how many chunks are not stored and have the fill value
      error         why the leaf cannot be read; null if no problem is known
    error           why nothing of the checkpointable can be read; null if it can

For a run, the document has these members:

  path
  checkpoints       list of
    name, step      the step is the number in the name
    commit_time, leaves, bytes, stored_bytes, metrics
    error           why it cannot be read; null if no problem is known
  unfinished        list of the names of saves that are running or have died
  custom_metadata   the custom metadata of the run itself

A leaf is listed as unreadable, with everything that is known of it, if its document
or chunks are missing or cut off, if its form is unknown, or if it has chunks in a data
file of a database that is missing or too short. A checkpointable is listed as
unreadable if its directory or document is missing, or if it is not a pytree and has
lost a file that the digests of the checkpoint list. An error gives the reason, and the
exit status is 1 if data is damaged. The other leaves and checkpointables can be read.
The sharding of a jax.Array is unknown if the checkpoint does not record it.

Times are in the form of RFC 3339. Numbers in custom_metadata and metrics that JSON
does not have are the strings "NaN", "Infinity" and "-Infinity" in the document, and
the words NaN, Infinity and -Infinity without --json.` + exitHelp,
		Example: `  orbax ls /ckpt
  orbax ls /ckpt/step_100
  orbax ls /ckpt/step_100 --name params
  orbax ls --json /ckpt/step_100 | jq '.checkpointables[].leaves[] | select(.bytes > 1e9) | .path'`,
		Args: exactly("CKPT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			write := func(doc any, print func(io.Writer) error) error {
				if asJSON {
					return inspect.WriteJSON(cmd.OutOrStdout(), doc)
				}
				return print(cmd.OutOrStdout())
			}
			in := c.inspector(cmd.Context(), fill)
			l, err := in.List(cmd.Context(), args[0], name)
			if err == nil {
				return cmp.Or(write(l, func(w io.Writer) error { return printListing(w, l) }), l.Err)
			}
			if name != "" || !errors.Is(err, orbax.ErrInvalidCheckpoint) {
				return err
			}
			run, rerr := in.Run(cmd.Context(), args[0])
			if run == nil {
				return cmp.Or(rerr, err)
			}
			of, err := run.List(cmd.Context())
			if err != nil {
				return err
			}
			return cmp.Or(write(of, func(w io.Writer) error { return printRun(w, of) }), of.Err)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	cmd.Flags().StringVar(&name, "name", "", "list this checkpointable only")
	fill.add(cmd)
	return cmd
}
