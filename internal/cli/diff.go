package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/inspect"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

// errDiffer is the error of a diff that has found differences.
var errDiffer = errors.New("different")

// diffError is an error of diff. It keeps the exit status 1 for differences.
type diffError struct{ error }

func (t diffError) Unwrap() error { return t.error }

func (c Config) newDiff() *cobra.Command {
	var asJSON, quiet bool
	var name string
	var fill fillFlag
	var o view.DiffOptions
	cmd := &cobra.Command{
		Use:   "diff A B [PATTERN...]",
		Short: "Compare two checkpoints",
		Long: `Diff compares the contents of two checkpoints, however they are stored, and prints a
line for each leaf that differs: a leaf that only one of them has, or that differs in
its kind, dtype, shape or values. The values of A come before those of B. Arrays must
be equal bit by bit unless --rtol, --atol or --equal-nan is given. The sharding of an
array counts only with --shardings. Whether a leaf was an array of JAX, an array of
NumPy or a single number counts only with --kinds.

Diff compares checkpointables of the same name. If both checkpoints have only one, it
compares these whatever their names. With --name it compares that checkpointable, which
must be a pytree or a JSON document. With patterns, such as "params.**" or "*.bias",
only the leaves count whose paths match one of them.

The document of --json has these members:

  a, b, equal       the checkpoints, and whether there are no differences
  leaves            how many leaves the two have together
  only_a, only_b    lists of the checkpointables that only one of them has
  not_compared      list of the checkpointables that are neither pytrees nor JSON
                    documents
  documents         list of the checkpointables that are JSON documents and differ
  differences       list of
    part, path      the checkpointable, and the path of the leaf
    in              list of "presence", "keys", "kind", "dtype", "shape",
                    "sharding" and "values"
    a, b            the leaf as in ls --json; null if there is none
    values          null, or the differences of the values:
      count, elements    how many elements differ, and how many there are
      first, a, b        the index of the first that differs, and its values
      max_abs, max_rel   the largest |a-b|, and the largest |a-b|/|b|; "Infinity"
                         for a number beside NaN or infinity

EXIT STATUS
  0    no difference
  1    there are differences
  2    anything else: bad usage, nothing at a path, a damaged checkpoint …
  130  interrupted`,
		Example: `  orbax diff /ckpt/step_100 /backup/step_100
  orbax diff --rtol 1e-5 --atol 1e-8 /ckpt/run_a /ckpt/run_b 'params.**'
  orbax diff --metadata-only --json old new | jq -r '.differences[].path'`,
		Args: atLeast("A", "B"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !(o.RTol >= 0 && o.ATol >= 0) {
				return diffError{usagef("--rtol and --atol must not be negative")}
			}
			if _, err := tree.ParsePatterns(args[2:]...); err != nil {
				return diffError{usageError{err}}
			}
			found, err := c.inspector(cmd.Context(), fill).Diff(cmd.Context(), args[0], args[1], name, args[2:], o)
			if err != nil {
				return diffError{err}
			}
			switch {
			case asJSON:
				var doc any
				if doc, err = found.Document(); err == nil {
					err = inspect.WriteJSON(cmd.OutOrStdout(), doc)
				}
			case !quiet:
				err = printDiff(cmd.OutOrStdout(), found)
			}
			if err != nil {
				return diffError{err}
			}
			if !found.Found.Equal() {
				if !quiet && found.OnlyKeys() {
					fmt.Fprintln(cmd.ErrOrStderr(), "hint: --ignore-keys compares leaves by their paths, however these are divided into keys")
				}
				return errDiffer
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&name, "name", "", "compare this checkpointable only")
	flags.Float64Var(&o.RTol, "rtol", 0, "let numbers differ by this fraction of B's")
	flags.Float64Var(&o.ATol, "atol", 0, "let numbers differ by this much")
	flags.BoolVar(&o.EqualNaN, "equal-nan", false, "treat all NaNs as equal")
	flags.BoolVar(&o.IgnoreDType, "ignore-dtype", false, "compare the values of arrays of different dtypes")
	flags.BoolVar(&o.IgnoreKeys, "ignore-keys", false, "compare leaves of the same path, however it is divided into keys")
	flags.BoolVar(&o.Kinds, "kinds", false, "also compare the kinds that ls prints")
	flags.BoolVar(&o.Shardings, "shardings", false, "also compare shardings")
	fill.add(cmd)
	flags.BoolVar(&o.MetadataOnly, "metadata-only", false, "do not compare values")
	flags.BoolVar(&asJSON, "json", false, "print one JSON document")
	flags.BoolVarP(&quiet, "quiet", "q", false, "print nothing (without --json)")
	return cmd
}

// printDiff writes a line for each difference, and a summary.
func printDiff(w io.Writer, c *inspect.Comparison) error {
	d := c.Found
	b := bufio.NewWriter(w)
	var rows [][]string
	for _, only := range []struct {
		names []string
		path  string
	}{{d.OnlyA, c.A}, {d.OnlyB, c.B}} {
		for _, name := range only.names {
			rows = append(rows, []string{fault.Shown(name), "only in " + only.path})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.Documents)) {
		if d.Documents[name] {
			rows = append(rows, []string{fault.Shown(name), "the documents differ"})
		}
	}
	differ := 0
	for _, part := range slices.Sorted(maps.Keys(d.Trees)) {
		prefix := ""
		if c.Several() {
			prefix = part + "/"
		}
		for i := range d.Trees[part] {
			l := &d.Trees[part][i]
			rows = append(rows, []string{fault.Shown(prefix + l.Name), describeLeafDiff(c, l)})
			differ++
		}
	}
	table(b, rows)
	switch {
	case differ > 0:
		fmt.Fprintf(b, "differences in %d of %s\n", differ, inspect.Plural(d.Leaves, "leaf"))
	case d.Equal():
		fmt.Fprintf(b, "no difference in %s\n", inspect.Plural(d.Leaves, "leaf"))
	}
	if len(d.Unknown) > 0 {
		fmt.Fprintf(b, "not compared: %s\n", fault.List(d.Unknown))
	}
	return b.Flush()
}

// describeLeafDiff says how a leaf differs.
func describeLeafDiff(c *inspect.Comparison, l *view.LeafDiff) string {
	switch {
	case l.B == nil:
		return fmt.Sprintf("only in %s: %v", c.A, l.A.Spec())
	case l.A == nil:
		return fmt.Sprintf("only in %s: %v", c.B, l.B.Spec())
	}
	var ways []string
	add := func(in view.Differs, of func(*view.LeafMetadata) string) {
		if l.In&in != 0 {
			ways = append(ways, fmt.Sprintf("%v: %s, %s", in, of(l.A), of(l.B)))
		}
	}
	add(view.DiffersKeys, func(m *view.LeafMetadata) string {
		text, _ := json.Marshal(inspect.Keys(m.Path))
		return string(text)
	})
	add(view.DiffersKind, inspect.KindWord)
	add(view.DiffersDType, func(m *view.LeafMetadata) string {
		if m.PRNGImpl != "" {
			return "key<" + fault.Shown(m.PRNGImpl) + ">"
		}
		return m.DType.String()
	})
	add(view.DiffersShape, func(m *view.LeafMetadata) string { return inspect.ShapeText(m.Shape) })
	add(view.DiffersSharding, func(m *view.LeafMetadata) string {
		switch {
		case m.Sharding == nil && m.ValueType == "jax.Array":
			return "unknown"
		case m.Sharding == nil:
			return "none"
		}
		return fault.Shown(m.Sharding.String())
	})
	if v := l.Values; v != nil {
		ways = append(ways, valuesText(v))
	}
	return strings.Join(ways, "; ")
}

func valuesText(v *view.ValuesDiff) string {
	a, b := elementText(v.A), elementText(v.B)
	if len(v.First) == 0 {
		return fmt.Sprintf("values: %s, %s", a, b)
	}
	return fmt.Sprintf("values: %d of %d, max abs %.3g, max rel %.3g, first %s: %s, %s",
		v.Count, v.Elements, v.MaxAbs, v.MaxRel, inspect.ShapeText(v.First), a, b)
}

// maxShownString is the number of characters of a string that are printed.
const maxShownString = 60

// elementText returns the text of an element, or a string in quotes.
func elementText(v any) string {
	if s, ok := v.(string); ok {
		if r := []rune(s); len(r) > maxShownString {
			return fmt.Sprintf("%q...", string(r[:maxShownString]))
		}
		return fmt.Sprintf("%q", s)
	}
	if a := inspect.ElementArray(v); a != nil {
		return a.FormatElement(0)
	}
	return fmt.Sprint(v)
}
