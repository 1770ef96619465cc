package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/go-orbax/orbax/internal/inspect"
	"github.com/go-orbax/orbax/storage"
)

// exitHelp is the end of the long help of every verb.
const exitHelp = `

EXIT STATUS
  0    done
  1    the checkpoint or file is damaged or incomplete
  2    anything else: bad usage, nothing at the path, no permission …
  130  interrupted; nothing half written is left behind`

// Config holds the outputs and the store of a command line. No verb reads standard input.
type Config struct {
	// Out receives results. Characters that control a terminal are escaped in text for
	// people. The bytes of a leaf are not changed if they are printed without quoting and
	// Out is not a terminal.
	Out io.Writer
	// Err receives errors, hints and warnings.
	Err io.Writer
	// Store, if not nil, is the store in which the paths of the command line are names;
	// see [orbax.In]. A SRC or DST of convert whose name ends with .safetensors is on the
	// local disk all the same. If Store is nil, paths are paths on the local disk and
	// URLs of registered schemes. Neither Out nor Err shows the credentials of a URL: in
	// text and in documents, xxxxx replaces its user and the values of its query.
	Store storage.Store
}

// Run executes a command line, given without the program's name, and returns its exit
// status. The help of every verb describes the statuses. When ctx ends, Run ends with the
// status of an interruption. Several goroutines of one process may call Run at the same
// time.
func Run(ctx context.Context, args []string, c Config) int {
	root := c.newRoot()
	root.SetArgs(args)
	out, errs := inspect.ForTerminal(c.Out), inspect.ForTerminal(c.Err)
	root.SetOut(out)
	root.SetErr(errs)
	defer errs.Flush()
	cmd, err := checkVerbs(root, args)
	if err == nil {
		cmd, err = root.ExecuteContextC(ctx)
	}
	if ferr := out.Flush(); err == nil {
		err = ferr
	}
	if err == nil {
		return exitOK
	}
	if ctx.Err() != nil {
		err = errInterrupted
	}
	if cmd.Context() != nil { // the verb has run
		ctx = cmd.Context()
	}
	report(errs, cmd.CommandPath(), err, c.hintOf(ctx, err))
	return exitStatus(err)
}

func (c Config) newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "orbax",
		Short: "Inspect, check, convert and repair checkpoints in the format of Orbax",
		Long: `orbax inspects, checks, converts and repairs checkpoints of machine-learning state in
the format of Google's Orbax, whatever program wrote them.` + exitHelp,
		Example: `  orbax ls /ckpt/step_100
  orbax cat /ckpt/step_100 params.dense.kernel
  orbax verify /ckpt/step_*
  orbax convert model.safetensors /ckpt/imported`,
		Args:                       onlyVerbs,
		PersistentPreRun:           withVerb,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		Version:                    version(),
		SilenceErrors:              true,
		SilenceUsage:               true,
		SuggestionsMinimumDistance: 2,
	}
	root.SetVersionTemplate(versionLine())
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{plainFlagError(err)} })
	for _, verb := range []*cobra.Command{c.newLs(), c.newCat(), c.newVerify(), c.newHash(), c.newDiff(), c.newConvert(), c.newRepair()} {
		mayFollowLinks(verb)
		root.AddCommand(verb)
	}
	root.AddCommand(c.newRm(), c.newGC(), c.newPartial(), newVersion())
	return root
}

// checkVerbs refuses an unknown verb in a request for help. Without it, cobra would print
// the help of the parent command, and a script would take that for success. It returns
// the command that the error concerns.
func checkVerbs(root *cobra.Command, args []string) (*cobra.Command, error) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd(args...)
	if len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd) {
		return root, nil // the arguments are being typed
	}
	isHelp := len(args) > 0 && args[0] == "help"
	if isHelp {
		args = args[1:]
	} else if !slices.Contains(args, "--help") && !slices.Contains(args, "-h") {
		return root, nil // the verb reports the error
	}
	cmd, rest, err := root.Find(args)
	if err != nil || !cmd.HasSubCommands() {
		return root, nil
	}
	rest = slices.DeleteFunc(slices.Clone(rest), func(arg string) bool { return strings.HasPrefix(arg, "-") })
	if len(rest) == 0 || cmd.Args == nil {
		return root, nil
	}
	return cmd, cmd.Args(cmd, rest)
}

// plainFlagError says what a flag's value should be if it is not a number.
func plainFlagError(err error) error {
	var number *strconv.NumError
	if !errors.As(err, &number) {
		return err
	}
	text, _ := strings.CutSuffix(err.Error(), ": "+number.Error())
	switch {
	case errors.Is(number, strconv.ErrRange):
		return fmt.Errorf("%s: it is out of range", text)
	case number.Func == "ParseFloat":
		return fmt.Errorf("%s: not a number", text)
	case number.Func == "ParseBool":
		return fmt.Errorf("%s: neither true nor false", text)
	}
	return fmt.Errorf("%s: not an integer", text)
}

// onlyVerbs refuses every argument of a command that has only verbs.
func onlyVerbs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := fmt.Errorf("unknown verb %q", args[0])
	var verbs []string
	for _, verb := range cmd.Commands() {
		verbs = append(verbs, verb.Name())
	}
	if near := inspect.Closest(args[0], verbs, 1); len(near) > 0 {
		err = withHint(err, "did you mean `%s %s`?", cmd.CommandPath(), near[0])
	}
	return usageError{err}
}

// atLeast demands an argument for each of names; more may follow.
func atLeast(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return usageError{fmt.Errorf("%s is missing", names[len(args)])}
		}
		return nil
	}
}

// exactly demands an argument for each of names and no more.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > len(names) {
			return usageError{fmt.Errorf("unexpected argument %q", args[len(names)])}
		}
		return atLeast(names...)(cmd, args)
	}
}
