package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/inspect"
	"github.com/go-orbax/orbax/internal/layout"
)

func (c Config) newRm() *cobra.Command {
	var name string
	var missingOK bool
	cmd := &cobra.Command{
		Use:   "rm CKPT",
		Short: "Remove a checkpoint, or one part of it",
		Long: `Rm removes the checkpoint at CKPT, with --name one of its parts. It asks nothing.

What is no checkpoint of Orbax is refused and not touched, and so is a checkpoint
with files in it that neither Orbax nor this program writes; a damaged or
unfinished one is removed, unless a save or a removal is at work on it. A
checkpoint goes in one instant. The last part of one is not removed: remove the
checkpoint.` + exitHelp,
		Example: `  orbax rm /ckpt/step_100
  orbax rm /ckpt/step_200 --name opt_state
  orbax rm --missing-ok /ckpt/step_100`,
		Args: exactly("CKPT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, path := cmd.Context(), args[0]
			options := []orbax.DeleteOption{orbax.In(c.Store)}
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
				return fmt.Errorf("%s: it is the metrics of the checkpoint %s, which belong to it and are removed with it", path, outer)
			}
			err = fmt.Errorf("%s: it is inside of the checkpoint %s", path, outer)
			if !strings.Contains(rest, "/") {
				err = withHint(err, "`orbax rm %s --name %s` removes that part", outer, fault.Shown(rest))
			}
			return err
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "remove this part only")
	cmd.Flags().BoolVar(&missingOK, "missing-ok", false, "nothing at CKPT, or no such part, is no error")
	return cmd
}
