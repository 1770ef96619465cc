package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/go-orbax/orbax/internal/inspect"
)

// These are the names of flags of several verbs.
const (
	fillName   = "fill-missing"
	followName = "follow-links"
)

// fillFlag is the flag --fill-missing of the verbs that read.
type fillFlag bool

func (f *fillFlag) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar((*bool)(f), fillName, false, "give missing chunks the fill value, as zarr does")
}

// mayFollowLinks gives a verb that opens checkpoints the flag --follow-links.
func mayFollowLinks(verb *cobra.Command) {
	verb.Flags().Bool(followName, false,
		"follow symbolic links that lead out of the checkpoint; only for checkpoints that you trust")
}

// inspector returns an inspector that follows the flags of the command line.
func (c Config) inspector(ctx context.Context, fill fillFlag) inspect.Inspector {
	_, follow := flagOf(ctx, followName)
	return inspect.Inspector{Store: c.Store, FollowLinks: follow, FillMissing: bool(fill)}
}

// verb is the key under which the context of a verb has its [cobra.Command].
type verb struct{}

// withVerb puts a verb into its context.
func withVerb(cmd *cobra.Command, _ []string) {
	cmd.SetContext(context.WithValue(cmd.Context(), verb{}, cmd))
}

// flagOf reports whether the verb with the context ctx has a flag of that name, and
// whether the flag is set. The flag is true or false.
func flagOf(ctx context.Context, name string) (has, set bool) {
	cmd, _ := ctx.Value(verb{}).(*cobra.Command)
	if cmd == nil {
		return false, false
	}
	flag := cmd.Flags().Lookup(name)
	return flag != nil, flag != nil && flag.Value.String() == "true"
}
