package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/inspect"
)

func (c Config) newVerify() *cobra.Command {
	var asJSON, quiet bool
	var fill fillFlag
	cmd := &cobra.Command{
		Use:   "verify CKPT|RUN...",
		Short: "Read everything in checkpoints and check it",
		Long: `Verify reads every byte of checkpoints and checks it against the stored checksums. It
prints a line for each intact checkpoint. For other checkpoints it prints what is wrong
with each leaf and file.

In a checkpoint that this project wrote, every bit is covered: by the checksums of the
arrays and by the digests of all documents. Verify also finds exchanged chunks and
files of another step, by the record go-orbax.places of each pytree, unless an earlier
version of this project saved it. Orbax stores no digests, and no checksums of array
data unless it is asked to. In its checkpoints verify finds data that is missing,
truncated or cannot be decoded. It says that there are no digests, how many arrays have
no checksum, and which checkpointables it cannot check at all because they are not
pytrees. A checkpoint of this project that has lost its file digests.sha256 counts as
damaged. If it has lost its files go-orbax.places too, it is taken for one of Orbax.

The writers of zarr arrays leave out chunks whose elements all have the fill value. So
verify cannot see whether a chunk of such a store was lost; it says how many chunks are
missing. In a checkpoint of Orbax a missing chunk is damage, unless --fill-missing is
given.

For a run, a directory of steps, verify checks all steps in the order of the numbers
that their names end in, then the other checkpoints in the directory, and the digests
of the run's metadata. The last line is about the run. The metadata of a run are
neither a checkpoint nor damage, even if a shell puts them among the arguments.

UNFINISHED means a save that is running or has died: a temporary directory, a session
of partial saves that is not finalized, or a checkpoint without the file that commits
it. In a run, which may have no step yet, it does not count as damage. As an argument it
makes the exit status 1, because there is no intact checkpoint at that path. There is
one exception: a temporary directory or a session does not change the exit status if an
intact checkpoint of the same directory is among the arguments, because a pattern such
as run/step_* finds both.

Verify continues after a damaged checkpoint. The exit status is 1 if any checkpoint is
damaged, or unfinished as explained above; else it is 2 if any could not be read.

The document of --json is {"checkpoints": [...]}, a list in the order of the
arguments, in which the steps of a run take its place. It has these members:

  path, status    the status is "ok", "damaged", "error", or "unfinished", which is a
                  save that is running or has died
  leaves, bytes   how many leaves were checked, and their size in memory
  digests         whether digests cover the documents; null if that is unknown
  unchecksummed   how many arrays have no checksum
  missing_chunks  how many chunks are not stored and have the fill value
  unchecked       list of the checkpointables that could not be checked
  seconds         the duration of the check
  problems        list of messages: the damage, or the error
  reason          only for unfinished checkpoints: why they are unfinished` + exitHelp,
		Example: `  orbax verify /ckpt/step_100
  orbax verify --quiet /ckpt/run
  orbax verify --json /ckpt/step_100 | jq -r '.checkpoints[] | select(.status != "ok") | .path'`,
		Args: atLeast("CKPT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := c.inspector(cmd.Context(), fill)
			all := newTally(asJSON, in)
			show := func(v *inspect.Verdict, line, hint bool) error {
				if line && !asJSON {
					if _, err := fmt.Fprintln(cmd.OutOrStdout(), verdictText(v)); err != nil {
						return err
					}
				}
				if hint && !asJSON {
					printHint(cmd.ErrOrStderr(), c.verdictHint(cmd.Context(), v))
				}
				return nil
			}
			report := func(v *inspect.Verdict) error {
				if !v.IsRun {
					all.add(v)
				}
				if v.Status == inspect.StatusUnfinished { // whether that matters depends on the other verdicts
					return show(v, !quiet, false)
				}
				return show(v, !quiet || v.Status != inspect.StatusOK, true)
			}
			for _, path := range args {
				v := in.Verify(cmd.Context(), path)
				if err := cmd.Context().Err(); err != nil {
					return err
				}
				if v.None {
					r, err := in.Run(cmd.Context(), path)
					if err != nil {
						return err
					}
					if r != nil {
						if err := r.Verify(cmd.Context(), report); err != nil {
							return err
						}
						continue
					}
				}
				if err := report(v); err != nil {
					return err
				}
			}
			for _, v := range all.lacking() {
				if err := show(v, quiet, true); err != nil {
					return err
				}
			}
			if asJSON {
				doc := map[string]any{"checkpoints": all.verdicts}
				if err := inspect.WriteJSON(cmd.OutOrStdout(), doc); err != nil {
					return err
				}
			}
			return all.err()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	fill.add(cmd)
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print nothing about intact checkpoints, or about anything else that does not change the exit status (without --json)")
	return cmd
}

// verdictHint returns advice about a verdict, or "".
func (c Config) verdictHint(ctx context.Context, v *inspect.Verdict) string {
	switch {
	case v.NeedsIndex:
		return "nothing is lost, but Orbax in Python cannot load it without an index; see " + repairCommand(ctx, v.Path)
	case v.Err == nil:
		return ""
	}
	return c.hintOf(ctx, v.Err)
}

// verdictText returns the text that verify prints for a verdict.
func verdictText(v *inspect.Verdict) string {
	if v.Note != "" {
		return fmt.Sprintf("%s  %s: %s", strings.ToUpper(v.Status), fault.Shown(v.Path), v.Note)
	}
	if v.Status != inspect.StatusOK {
		word := strings.ToUpper(v.Status)
		if len(v.Problems) == 1 {
			return fmt.Sprintf("%s  %s: %s", word, fault.Shown(v.Path), v.Problems[0])
		}
		return fmt.Sprintf("%s  %s: %d problems:\n  %s", word, fault.Shown(v.Path), len(v.Problems), strings.Join(v.Problems, "\n  "))
	}
	took := time.Duration(v.Seconds * float64(time.Second))
	line := fmt.Sprintf("OK  %s  %s  %s  %s", fault.Shown(v.Path), inspect.Plural(v.Leaves, "leaf"), fault.Size(v.Bytes), pace(v.Bytes, took))
	if v.Trees == 0 {
		line = fmt.Sprintf("OK  %s  no pytrees  %.2fs", fault.Shown(v.Path), took.Seconds())
	}
	if v.Digests != nil && !*v.Digests {
		line += "  (no digests: documents not covered)"
	}
	if v.Unchecksummed > 0 {
		line += fmt.Sprintf("  (%s without checksum)", inspect.Plural(v.Unchecksummed, "array"))
	}
	if v.Missing > 0 {
		line += fmt.Sprintf("  (%s not stored: taken for fill value)", inspect.Plural(v.Missing, "chunk"))
	}
	switch {
	case len(v.Unchecked) == 1 && v.Unchecked[0] == "":
		line += "  (not a pytree, not checked)"
	case len(v.Unchecked) > 0:
		line += fmt.Sprintf("  (not a pytree, not checked: %s)", fault.List(v.Unchecked))
	}
	return line
}
