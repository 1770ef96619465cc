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
		Short: "List what is in a checkpoint, or the steps of a run",
		Long: `Ls lists every leaf of a checkpoint: its path, kind, dtype, shape, size in
memory and sharding; then the metrics of a step and the custom metadata, abridged
if they are long. It reads no array data.

CKPT is the directory of a checkpoint of Orbax, old or new, or of one of its parts
(/ckpt/step_100/params); of safetensors files, or one such file; of zarr arrays, in
files or in an OCDBT database; or a file of Flax. A path may be a file:// URL.

Of a run, a directory with checkpoints whose names end in a number, it lists these
steps in the order of their numbers, then the other checkpoints in it: when each was
committed, how many leaves it has, their size in memory, and the metrics; last the
custom metadata of the run.

A checkpoint can have several parts. Where there is more than one, each leaf's
path follows the part's name and a slash, which cat takes too; parts that are no
pytrees are listed with their kind. With --name the paths are those in the part,
as cat takes them with the same --name.

The document of --json has these members. Those of unknown value are null.
That of a run follows below.

  path, init_time, commit_time, custom_metadata, metrics
  checkpointables   list, by name, of
    name, kind      the kind is "pytree", "json", "proto", "stateful", "unknown",
                    or what the checkpoint calls it; the name is "" where the
                    checkpoint is its only part itself
    format          of pytrees: "ocdbt+zarr3", "files+zarr2", "safetensors" …
    bytes           of pytrees: of all leaves in memory
    stored_bytes    of pytrees: of all leaves as stored
    leaves          of pytrees: list, in order, of
      path          the keys joined with dots
      keys          the keys: strings in dicts, numbers in sequences
      kind          "jax.Array", "np.ndarray", "scalar", "string", "bytes",
                    "None", "Dict", "List" or "Tuple"; the last three are empty
      dtype, shape, chunk_shape, codecs, prng_impl, sharding
      bytes, stored_bytes
      missing_chunks  how many chunks are not stored and taken for fill value
      error         why the leaf cannot be read; null if nothing is known to be
                    in the way
    error           why nothing can be read of the part; null if it can

The document of a run has these:

  path
  checkpoints       list of
    name, step      the step is the number in the name
    commit_time, leaves, bytes, stored_bytes, metrics
    error           why it cannot be read; null if nothing is known to be in the way
  unfinished        list of names: of saves that go on or have died
  custom_metadata   what the run itself says

A leaf whose document or chunks are missing or cut off, or of a form that is not
known, is listed as unreadable, with what is known of it; so is one with chunks in a
data file of a database that is missing or too short. An error says why, and the
exit status is 1 if it is damaged. The other leaves can be read. So is a part whose
directory or document is missing; the other parts are listed. The sharding of a
jax.Array is unknown where the checkpoint does not record one.

Times are in the form of RFC 3339. Numbers in custom_metadata and metrics that
JSON does not have are the strings "NaN", "Infinity" and "-Infinity" in the document,
and the words NaN, Infinity and -Infinity without --json.` + exitHelp,
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
	cmd.Flags().StringVar(&name, "name", "", "list this part only")
	fill.add(cmd)
	return cmd
}
