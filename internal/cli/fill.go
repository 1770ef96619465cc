package cli

import (
	"github.com/spf13/cobra"

	"github.com/go-orbax/orbax"
)

// fillFlag is the flag --fill-missing of the verbs that read.
type fillFlag bool

func (f *fillFlag) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar((*bool)(f), "fill-missing", false, "take chunks that are missing for the fill value, as zarr does")
}

// options returns what the flag asks for.
func (f fillFlag) options() []orbax.FillOption {
	if !f {
		return nil
	}
	return []orbax.FillOption{orbax.FillMissing()}
}

// optionsOf returns options as those of another kind that they are too.
func optionsOf[O any](fill []orbax.FillOption) []O {
	options := make([]O, len(fill))
	for i, o := range fill {
		options[i] = any(o).(O)
	}
	return options
}
