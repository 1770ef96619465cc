package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/config"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/inspect"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/storage"
)

// tellRecovered is an option of a deletion, which calls it with the work of a dead writer
// that it has finished or undone.
type tellRecovered func(*storage.Work)

func (f tellRecovered) ApplyDelete(c *config.Delete) { c.Recovered = append(c.Recovered, f) }

func (c Config) newRm() *cobra.Command {
	var name string
	var missingOK bool
	cmd := &cobra.Command{
		Use:   "rm CKPT",
		Short: "Remove a checkpoint, or one checkpointable of it",
		Long: `Rm removes the checkpoint at CKPT, or with --name one checkpointable of it. It does not
ask for confirmation.

Rm refuses to touch anything that is not a checkpoint of Orbax, and a checkpoint with
files that neither Orbax nor this program writes. It removes a damaged or unfinished
checkpoint, unless a save or a removal is at work on it. A checkpoint disappears in one
instant. The last checkpointable of a checkpoint cannot be removed: remove the
checkpoint.

In an object store a writer that has died leaves a claim of its path. Rm refuses such a
path until the claim has ended, 45 seconds after the death. Then it first finishes or
undoes what that writer had begun, and says so.` + exitHelp,
		Example: `  orbax rm /ckpt/step_100
  orbax rm /ckpt/step_200 --name opt_state
  orbax rm --missing-ok /ckpt/step_100`,
		Args: exactly("CKPT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, path := cmd.Context(), args[0]
			options := []orbax.DeleteOption{orbax.In(c.Store), tellRecovered(func(w *storage.Work) {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", fault.Shown(path), fault.Printable(w.Recovered()))
			})}
			if cmd.Flags().Changed("name") {
				options = append(options, orbax.Name(name))
			}
			if missingOK {
				options = append(options, orbax.MissingOK())
			}
			err := orbax.Delete(ctx, path, options...)
			if name != "" && errors.Is(err, orbax.ErrNotExist) {
				if ck, openErr := orbax.Open(ctx, path, orbax.In(c.Store)); openErr == nil {
					defer ck.Close()
					return inspect.NameHint(err, ck, name)
				}
			}
			if !errors.Is(err, orbax.ErrInvalidCheckpoint) {
				return err
			}
			outer, rest := c.inspector(ctx, false).Enclosing(ctx, path)
			switch {
			case outer == "":
				return err
			case rest == layout.MetricsName:
				return fmt.Errorf("%s: these are the metrics of the checkpoint %s, which are removed with it", path, outer)
			}
			err = fmt.Errorf("%s: it is inside of the checkpoint %s", path, outer)
			if !strings.Contains(rest, "/") {
				err = withHint(err, "%s removes that checkpointable", command("rm", outer, "--name", rest))
			}
			return err
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "remove this checkpointable only")
	cmd.Flags().BoolVar(&missingOK, "missing-ok", false, "succeed if nothing is at CKPT, or there is no such checkpointable")
	return cmd
}
