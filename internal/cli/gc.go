package cli

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/inspect"
)

func (c Config) newGC() *cobra.Command {
	var apply, asJSON bool
	cmd := &cobra.Command{
		Use:   "gc ROOT",
		Short: "Remove what writers that have died have left",
		Long: `Gc lists what saves and removals have left that did not end: at ROOT, beside it and in
all directories below it. ROOT is a run, a directory or a prefix of a bucket with any
checkpoints in it. With --apply gc removes what dead writers have left. In a bucket it
undoes what they have begun, with the uploads that they did not finish, or finishes it if
it was decided. It does not look into checkpoints that are complete, and follows no links.

Each line begins with the state:

  dead        its writer has died; --apply removes it
  live        a writer works on it, or died moments ago; it is never touched
  unknown     nothing shows whether its writer lives, as in saves by Orbax in Python,
              which hold no lock; rm removes it
  unfinished  an unfinished checkpoint to which no claim or lock belongs; rm removes it
  old         the only copy of a checkpoint that was being replaced; rename it
  removed     it was dead, and is gone

On a local disk a live writer holds a lock. In a bucket it renews its claim; a claim that
was not renewed for 45 seconds is that of a dead one.

The document of --json has these members:

  path, applied   whether --apply was given
  remains         list, in the order of the paths, of
    path, of      of is the checkpoint that the writer worked on
    state, what   state is one of those above, but never removed; what describes it
    writer        the process and its host; null if they are not known
    modified      when its last file was written; null if there is none
    files, bytes
    removed       whether it was removed
    error         why it was not removed; null if it was not tried` + exitHelp,
		Example: `  orbax gc /ckpt
  orbax gc --apply gs://bucket/run
  orbax gc --json /ckpt | jq -r '.remains[] | select(.state == "unknown").path'`,
		Args: exactly("ROOT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := c.inspector(cmd.Context(), false).Remains(cmd.Context(), args[0], apply)
			if err != nil {
				return err
			}
			if asJSON {
				err = inspect.WriteJSON(cmd.OutOrStdout(), r)
			} else {
				err = printRemains(cmd.OutOrStdout(), r)
			}
			if err == nil && len(r.Remains) == 0 && !asJSON {
				fmt.Fprintf(cmd.ErrOrStderr(), "nothing is left in %s\n", fault.Shown(r.Path))
			}
			count := map[string]int{}
			for _, m := range r.Remains {
				count[m.State]++
			}
			if !apply && count[inspect.RemainDead] > 0 {
				fmt.Fprintln(cmd.ErrOrStderr(), "hint: --apply removes what is dead")
			}
			if count[inspect.RemainUnknown]+count[inspect.RemainUnfinished] > 0 {
				fmt.Fprintln(cmd.ErrOrStderr(), "hint: `orbax rm` removes what is unknown or unfinished; make sure that its writer is dead")
			}
			return errors.Join(err, r.Err)
		},
	}
	cmd.Flags().BoolVar(&apply, "apply", false, "remove what dead writers have left")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	return cmd
}

// printRemains writes the list for people, a line for each.
func printRemains(w io.Writer, r *inspect.Remains) error {
	if len(r.Remains) == 0 {
		return nil
	}
	rows := [][]string{{"STATE", "AGE", "SIZE", "PATH", "WHAT"}}
	for _, m := range r.Remains {
		age, state, what := "", m.State, m.What
		if m.Modified != nil {
			age = time.Since(*m.Modified).Round(time.Second).String()
		}
		if m.Removed {
			state = "removed"
		}
		if m.Writer != nil {
			what += " (" + *m.Writer + ")"
		}
		rows = append(rows, []string{state, age, fault.Size(m.Bytes), m.Path, what})
	}
	table(w, rows, 1, 2)
	return nil
}
