package cli

import (
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
		Long: `Repair looks for pytrees that several processes have saved, each into a database
of its own, and whose index, the database that unites them, is missing, damaged or
incomplete. Orbax cannot load them. It says what is wrong and whether the index can
be rebuilt; with --apply it rebuilds it. It looks at the databases, at the documents of
the tree and at the sizes of the files, and does not read array data: whether that is in
order is for verify to say. Other damage is not repaired.

Without --apply nothing is written, nor if anything that is damaged cannot be
repaired. The repaired checkpoint replaces the damaged one in one step.

The exit status is 1 if the checkpoint needs a repair that was not made.

The document of --json has the members

  path, written   whether all that was damaged has been repaired
  trees           list of the pytrees of several processes, of
    name, databases
    keys          how many keys the new index has; 0 if none is needed or possible
    damage        what is wrong with the index; null if nothing is (array data is not read)
    obstacle      why it cannot be rebuilt; null if it can` + exitHelp,
		Example: `  orbax repair /ckpt/step_100
  orbax repair --apply /ckpt/step_100`,
		Args: exactly("CKPT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ck, err := c.inspector(cmd.Context(), false).Open(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if err := ck.Close(); err != nil {
				return err
			}
			options := []orbax.RepairOption{orbax.In(c.Store)}
			if apply {
				options = append(options, orbax.WriteRepairs())
			}
			found, err := orbax.Repair(cmd.Context(), args[0], options...)
			if found == nil || err != nil && !damaged(err) {
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
	cmd.Flags().BoolVar(&apply, "apply", false, "write what is repaired")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	return cmd
}

// notRead is the end of a line about an intact pytree.
const notRead = " (array data was not read: verify does that)"

// printRepair writes the report for people, a line for each pytree.
func printRepair(w io.Writer, r *inspect.Repair) error {
	if len(r.Trees) == 0 {
		_, err := fmt.Fprintf(w, "NOTHING TO REPAIR  %s  there is no database of several processes in it; whether it is damaged is for verify to say\n", fault.Shown(r.Path))
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
			line = fmt.Sprintf("OK  %s  the index of %s is whole%s", title, inspect.Plural(len(t.Databases), "database"), notRead)
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
