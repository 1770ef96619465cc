package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/go-orbax/orbax/internal/inspect"
)

// fillFlag is the flag --fill-missing of the verbs that read.
type fillFlag bool

func (f *fillFlag) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar((*bool)(f), "fill-missing", false, "give missing chunks the fill value, as zarr does")
}

// followLinks is a context key. With it, links may lead out of a checkpoint.
type followLinks struct{}

// mayFollowLinks gives a verb that opens checkpoints the flag --follow-links.
func mayFollowLinks(verb *cobra.Command) {
	follow := verb.Flags().Bool("follow-links", false,
		"follow symbolic links that lead out of the checkpoint; only for checkpoints that you trust")
	verb.PreRun = func(cmd *cobra.Command, _ []string) {
		if *follow {
			cmd.SetContext(context.WithValue(cmd.Context(), followLinks{}, true))
		}
	}
}

// inspector returns an inspector that follows the flags of the command line.
func (c Config) inspector(ctx context.Context, fill fillFlag) inspect.Inspector {
	return inspect.Inspector{Store: c.Store, FollowLinks: ctx.Value(followLinks{}) != nil, FillMissing: bool(fill)}
}
