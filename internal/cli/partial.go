package cli

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/inspect"
	"github.com/go-orbax/orbax/partial"
)

func (c Config) newPartial() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "partial",
		Short: "List, finalize and abort sessions of partial saves",
		Long: `Partial works on sessions of partial saves. The directory PATH.partial_save has the
parts of a checkpoint that will be at PATH when the session is finalized. Orbax and
this project have the same format of sessions.

PATH is the path of the checkpoint or of its session.` + exitHelp,
		Example: `  orbax partial ls /ckpt
  orbax partial finalize /ckpt/step_100
  orbax partial abort /ckpt/step_100`,
		Args: onlyVerbs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.newPartialLs(), c.newPartialFinalize(), c.newPartialAbort())
	return cmd
}

func (c Config) newPartialLs() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ls PATH",
		Short: "List the sessions in a directory",
		Long: `Ls lists the sessions of partial saves in the directory PATH, or the one session whose
path, or whose checkpoint's path, is PATH. It prints the path of each future
checkpoint, how many parts and leaves the session has, the size of their files, and
when the last part was saved.

The document of --json is {"sessions": [...]}, a list with these members:

  path            the path of the future checkpoint
  parts           list, in the order in which they were saved, of
    name, saved   null for parts that an interrupted finalize by Orbax has merged
    leaves        list of their paths
    bytes         the size of its files

Sessions that cannot be read are errors; the others are listed.` + exitHelp,
		Example: `  orbax partial ls /ckpt
  orbax partial ls --json /ckpt | jq -r '.sessions[].path'`,
		Args: exactly("PATH"),
		RunE: func(cmd *cobra.Command, args []string) error {
			found, err := c.inspector(cmd.Context(), false).Sessions(cmd.Context(), args[0])
			sessions := inspect.DescribeSessions(found)
			if asJSON {
				if err == nil || len(found) > 0 {
					err = errors.Join(err, inspect.WriteJSON(cmd.OutOrStdout(), map[string]any{"sessions": sessions}))
				}
				return err
			}
			if len(sessions) == 0 && err == nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "no sessions in %s\n", fault.Shown(fault.Redacted(args[0])))
			}
			printSessions(cmd.OutOrStdout(), sessions)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	return cmd
}

func (c Config) newPartialFinalize() *cobra.Command {
	return &cobra.Command{
		Use:   "finalize PATH",
		Short: "Make the checkpoint of a session",
		Long: `Finalize makes the checkpoint at PATH of all parts of its session, and removes the
session. The session does not change until the checkpoint is complete. After a failure,
call finalize again. If the session has been finalized already, finalize succeeds too.

It waits for saves of this project into the session. Orbax takes no locks: make sure
that no Python process is still saving into the session.` + exitHelp,
		Example: `  orbax partial finalize /ckpt/step_100`,
		Args:    exactly("PATH"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, start := cmd.Context(), time.Now()
			line := fault.Shown(fault.Redacted(args[0]))
			s, err := partial.Open(ctx, args[0], orbax.In(c.Store))
			switch {
			case err == nil:
				line = fmt.Sprintf("%s  %s  %s", fault.Shown(fault.Redacted(s.Path)), inspect.Plural(len(s.Parts), "part"), inspect.Plural(inspect.DescribeSession(s).LeafCount(), "leaf"))
			case errors.Is(err, orbax.ErrNotExist):
				line += "  was finalized before"
			} // after another error Finalize finds out whether it can make the checkpoint
			if err := partial.Finalize(ctx, args[0], orbax.In(c.Store)); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s  %.2fs\n", line, time.Since(start).Seconds())
			return err
		},
	}
}

func (c Config) newPartialAbort() *cobra.Command {
	return &cobra.Command{
		Use:   "abort PATH",
		Short: "Remove a session with all its parts",
		Long: `Abort removes the session of the checkpoint that would have been at PATH, with all its
parts. It does not ask for confirmation. It does not touch anything at PATH itself.` + exitHelp,
		Example: `  orbax partial abort /ckpt/step_100`,
		Args:    exactly("PATH"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return partial.Abort(cmd.Context(), args[0], orbax.In(c.Store))
		},
	}
}

func printSessions(w io.Writer, sessions []inspect.Session) {
	if len(sessions) == 0 {
		return
	}
	rows := [][]string{{"PATH", "PARTS", "LEAVES", "SIZE", "LAST SAVE"}}
	for _, s := range sessions {
		bytes, last := int64(0), ""
		for _, p := range s.Parts {
			bytes += p.Bytes
			if p.Saved != nil {
				last = p.Saved.Format(time.RFC3339)
			}
		}
		rows = append(rows, []string{s.Path, fmt.Sprint(len(s.Parts)), fmt.Sprint(s.LeafCount()), fault.Size(bytes), last})
	}
	table(w, rows, 1, 2, 3)
}
