package cli

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/inspect"
)

func (c Config) newRepair() *cobra.Command {
	var apply, asJSON bool
	cmd := &cobra.Command{
		Use:   "repair CKPT",
		Short: "Rebuild the index of a checkpoint of several processes",
		Long: `Repair is for pytrees that several processes have saved, each into its own database.
Orbax cannot load such a pytree if the index, the database that unites the others, is
missing, damaged or incomplete. Repair says what is wrong and whether it can rebuild the
index. With --apply it rebuilds the index. It reads the databases, the documents of the
tree and the sizes of the files, but no array data; to check that, use verify. It
repairs no other damage.

In an object store a writer that has died may leave its work unfinished, such as the
exchange of the old checkpoint for a new one. With --apply, repair first finishes that, or
undoes a save that was not so far, once the claim of that writer has ended.

Without --apply, repair writes nothing. Nor does it write anything if some of the damage
cannot be repaired. The repaired checkpoint replaces the damaged one in one step. With
--follow-links it has the files that symbolic links lead to, in place of the links.

The exit status is 1 if the checkpoint needs a repair that was not made.

The document of --json has these members:

  path, written   whether all damage has been repaired
  finished        what was finished or undone of the work of a dead writer; null if nothing
  trees           list of the pytrees of several processes, of
    name, databases
    keys          how many keys the new index has; 0 if none is needed or possible
    damage        the damage to the index; null if there is none (array data is not read)
    obstacle      why the index cannot be rebuilt; null if it can` + exitHelp,
		Example: `  orbax repair /ckpt/step_100
  orbax repair --apply /ckpt/step_100`,
		Args: exactly("CKPT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := c.inspector(cmd.Context(), false)
			ck, openErr := in.Open(cmd.Context(), args[0]) // its error has a hint
			switch claimed := errors.As(openErr, new(*fault.Claimed)); {
			case openErr == nil:
				if err := ck.Close(); err != nil {
					return err
				}
			case !apply || !claimed: // else Repair finishes first what a dead writer has begun
				return openErr
			}
			options := inspect.OptionsOf[orbax.RepairOption](in.Opening())
			if apply {
				options = append(options, orbax.WriteRepairs())
			}
			found, err := orbax.Repair(cmd.Context(), args[0], options...)
			if found != nil && found.Finished != "" && !asJSON {
				fmt.Fprintf(cmd.OutOrStdout(), "FINISHED  %s  %s\n", fault.Shown(args[0]), fault.Printable(found.Finished))
			}
			if found == nil || err != nil && (!damaged(err) || len(found.Trees) == 0) {
				return err // nothing was found
			}
			r := inspect.DescribeRepair(args[0], found)
			if asJSON {
				err = inspect.WriteJSON(cmd.OutOrStdout(), r)
			} else {
				err = printRepair(cmd.OutOrStdout(), r)
			}
			if err != nil || !r.Needed() {
				return err
			}
			if !apply && r.Possible() {
				fmt.Fprintln(cmd.ErrOrStderr(), "hint: --apply repairs it")
			}
			return errDamaged
		},
	}
	cmd.Flags().BoolVar(&apply, "apply", false, "write the repaired index")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	return cmd
}

// notRead is the end of a line about an intact pytree.
const notRead = " (array data was not read: verify does that)"

// printRepair writes the report for people, a line for each pytree.
func printRepair(w io.Writer, r *inspect.Repair) error {
	if len(r.Trees) == 0 {
		_, err := fmt.Fprintf(w, "NOTHING TO REPAIR  %s  there is no database of several processes in it; verify reports whether it is damaged\n", fault.Shown(r.Path))
		return err
	}
	for _, t := range r.Trees {
		title := r.Path
		if t.Name != "" {
			title += ": checkpointable " + fault.Shown(t.Name)
		}
		line := ""
		switch {
		case t.Damage == nil:
			line = fmt.Sprintf("OK  %s  the index of %s is intact%s", title, inspect.Plural(len(t.Databases), "database"), notRead)
		case t.Obstacle != nil:
			line = fmt.Sprintf("LOST  %s: %s\n  it cannot be repaired: %s", title, *t.Damage, *t.Obstacle)
		default:
			word := "REPAIRABLE"
			if r.Written {
				word = "REPAIRED"
			}
			line = fmt.Sprintf("%s  %s: %s (%s in %s)", word, title, *t.Damage, inspect.Plural(t.Keys, "key"), inspect.Plural(len(t.Databases), "database"))
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}
