package cli

import (
	"bufio"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/inspect"
)

func (c Config) newHash() *cobra.Command {
	var asJSON, leaves bool
	var name string
	var fill fillFlag
	var patterns []string
	cmd := &cobra.Command{
		Use:   "hash CKPT...",
		Short: "Print digests of the contents of checkpoints",
		Long: `Hash reads the pytrees of checkpoints and prints a digest of each: of its structure,
dtypes, shapes and every bit of its arrays. The digest does not depend on how the
checkpoint is stored. A copy with other chunks, another compression or another format
has the same digest, and so has a copy that Orbax loaded and saved again. The shardings
of arrays do not count.

A line has the digest and the checkpoint, and the name of the checkpointable if the
checkpoint has several. With --leaves a line for each leaf comes before that, with the
digest of the leaf's dtype, shape and elements alone: leaves with the same content have
the same digest, whatever their names. Checkpointables that are not pytrees have no
digest.

With --select the digest is that of a tree of only the leaves that match a PATTERN,
such as 'params.**'.

Hash continues after a checkpoint that cannot be read.

The document of --json is {"checkpoints": [...]}, a list, in the order of the
arguments, of the checkpoints that could be read. It has these members:

  path
  checkpointables   list, by name, of
    name, digest    the digest is null if it is not a pytree
    leaves          with --leaves: list, in order, of path, keys and digest` + exitHelp,
		Example: `  orbax hash /ckpt/step_100 /backup/step_100
  orbax hash --leaves /ckpt/step_100 | sort
  orbax hash --json /ckpt/step_* | jq -r '.checkpoints[].checkpointables[].digest'`,
		Args: atLeast("CKPT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var worst error
			results := []*inspect.Hashes{}
			in := c.inspector(cmd.Context(), fill)
			for _, path := range args {
				h, err := in.Hash(cmd.Context(), path, name, patterns, leaves)
				if ctxErr := cmd.Context().Err(); ctxErr != nil {
					return ctxErr
				}
				switch {
				case err == nil && asJSON:
					results = append(results, h)
					continue
				case err == nil:
					if err := printHashes(cmd.OutOrStdout(), h); err != nil {
						return err
					}
					continue
				case len(args) == 1:
					return err
				case damaged(err):
					worst = errDamaged
				case worst == nil:
					worst = errUnchecked
				}
				report(cmd.ErrOrStderr(), cmd.CommandPath(), err, c.hintOf(cmd.Context(), err))
			}
			if asJSON {
				if err := inspect.WriteJSON(cmd.OutOrStdout(), map[string]any{"checkpoints": results}); err != nil {
					return err
				}
			}
			return worst
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	cmd.Flags().BoolVar(&leaves, "leaves", false, "print the digest of each leaf too")
	cmd.Flags().StringVar(&name, "name", "", "hash this checkpointable only")
	cmd.Flags().StringArrayVar(&patterns, "select", nil, "hash only the leaves that match `PATTERN`; may be repeated")
	fill.add(cmd)
	return cmd
}

// printHashes writes a line for each digest.
func printHashes(w io.Writer, h *inspect.Hashes) error {
	b := bufio.NewWriter(w)
	several := len(h.Parts) > 1
	for _, p := range h.Parts {
		if p.Digest == nil {
			continue
		}
		prefix := ""
		if several {
			prefix = p.Name + "/"
		}
		for _, l := range p.Leaves {
			fmt.Fprintf(b, "%v  %s  %s\n", l.Digest, fault.Shown(h.Path), fault.Shown(prefix+l.Path))
		}
		fmt.Fprintf(b, "%v  %s", p.Digest, fault.Shown(h.Path))
		if several {
			fmt.Fprintf(b, "  %s", fault.Shown(p.Name))
		}
		b.WriteByte('\n')
	}
	return b.Flush()
}
