package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/view"
)

func newHash() *cobra.Command {
	var asJSON, leaves bool
	var name string
	var fill fillFlag
	var patterns []string
	cmd := &cobra.Command{
		Use:   "hash CKPT...",
		Short: "Print digests of what checkpoints hold",
		Long: `Hash reads the pytrees of checkpoints and prints a digest of each: of its
structure, dtypes, shapes and every bit of its arrays. It does not depend on how
the checkpoint is stored: a copy in other chunks, another compression or another
format has the same digest, and so has what Orbax loaded and saved again. Where
arrays were, as their shardings say, does not count.

A line has the digest and the checkpoint, and where a checkpoint has several parts
the name of the part. With --leaves there is a line for each leaf before that, with
the digest of the leaf's dtype, shape and elements alone: leaves of one content
have one digest, whatever their names. Parts that are no pytrees have no digest.

With --select the digest is that of a tree of the leaves that match a PATTERN, such as
'params.**', alone.

All checkpoints are looked at, also after one that cannot be read.

The document of --json is {"checkpoints": [...]}, a list in the order of the
arguments of those that could be read, of

  path
  checkpointables   list, by name, of
    name, digest    null if it is no pytree
    leaves          with --leaves: list, in order, of path, keys and digest` + exitHelp,
		Example: `  orbax hash /ckpt/step_100 /backup/step_100
  orbax hash --leaves /ckpt/step_100 | sort
  orbax hash --json /ckpt/step_* | jq -r '.checkpoints[].checkpointables[].digest'`,
		Args: atLeast("CKPT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var worst error
			results := []*hashed{}
			options := optionsOf[orbax.LoadOption](fill.options())
			if len(patterns) > 0 {
				options = append(options, orbax.Select(patterns...))
			}
			for _, path := range args {
				h, err := hash(cmd.Context(), path, name, leaves, options)
				if err == nil && !asJSON {
					err = h.print(cmd.OutOrStdout())
				}
				if ctxErr := cmd.Context().Err(); ctxErr != nil {
					return ctxErr
				}
				switch {
				case err == nil:
					if asJSON {
						results = append(results, h)
					}
					continue
				case len(args) == 1:
					return err
				case damaged(err):
					worst = errDamaged
				case worst == nil:
					worst = errUnchecked
				}
				report(cmd.ErrOrStderr(), cmd.CommandPath(), err)
			}
			if asJSON {
				if err := writeJSON(cmd.OutOrStdout(), map[string]any{"checkpoints": results}); err != nil {
					return err
				}
			}
			return worst
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	cmd.Flags().BoolVar(&leaves, "leaves", false, "print the digest of each leaf too")
	cmd.Flags().StringVar(&name, "name", "", "hash this part only")
	cmd.Flags().StringArrayVar(&patterns, "select", nil, "hash only the leaves that match `PATTERN`; may be repeated")
	fill.add(cmd)
	return cmd
}

// hashed is what hash prints of a checkpoint; its JSON is described in the verb's
// help.
type hashed struct {
	Path  string       `json:"path"`
	Parts []hashedPart `json:"checkpointables"`
}

type hashedPart struct {
	Name   string       `json:"name"`
	Digest *view.Digest `json:"digest"`
	Leaves []hashedLeaf `json:"leaves,omitempty"`
}

type hashedLeaf struct {
	Path   string      `json:"path"`
	Keys   []any       `json:"keys"`
	Digest view.Digest `json:"digest"`
}

// hash hashes the pytrees of a checkpoint, or the one called name.
func hash(ctx context.Context, path, name string, leaves bool, options []orbax.LoadOption) (*hashed, error) {
	ck, err := openCheckpoint(ctx, path)
	if err != nil {
		return nil, err
	}
	defer ck.Close()
	names := partNames(ck, name)
	h := &hashed{Path: path}
	trees := 0
	for _, n := range names {
		part := hashedPart{Name: n}
		t, err := openTree(ctx, ck, path, n, options...)
		switch {
		case errors.Is(err, errNoPytree) && name == "":
		case err != nil:
			return nil, err
		default:
			if err := part.add(ctx, t, leaves); err != nil {
				return nil, inCheckpoint(path, err)
			}
			trees++
		}
		h.Parts = append(h.Parts, part)
	}
	if trees == 0 {
		return nil, inCheckpoint(path, fmt.Errorf("%w: no pytree among its checkpointables: %s", orbax.ErrStructure, fault.List(names)))
	}
	return h, nil
}

// add hashes the part's tree.
func (p *hashedPart) add(ctx context.Context, t *view.Tree, leaves bool) error {
	sum, sums, err := t.Hash(ctx)
	if err != nil {
		return err
	}
	p.Digest = &sum
	if !leaves {
		return nil
	}
	m := t.Metadata()
	for i := range m.Leaves {
		path := m.Leaves[i].Path
		p.Leaves = append(p.Leaves, hashedLeaf{path.String(), jsonKeys(path), sums[i]})
	}
	return nil
}

// print writes a line for each digest.
func (h *hashed) print(w io.Writer) error {
	b := bufio.NewWriter(w)
	several := len(h.Parts) > 1
	for _, p := range h.Parts {
		if p.Digest == nil {
			continue
		}
		prefix := ""
		if several {
			prefix = p.Name + "/"
		}
		for _, l := range p.Leaves {
			fmt.Fprintf(b, "%v  %s  %s\n", l.Digest, shown(h.Path), shown(prefix+l.Path))
		}
		fmt.Fprintf(b, "%v  %s", p.Digest, shown(h.Path))
		if several {
			fmt.Fprintf(b, "  %s", shown(p.Name))
		}
		b.WriteByte('\n')
	}
	return b.Flush()
}
