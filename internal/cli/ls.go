package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

func newLs() *cobra.Command {
	var asJSON bool
	var name string
	var fill fillFlag
	cmd := &cobra.Command{
		Use:   "ls CKPT",
		Short: "List what is in a checkpoint, or the steps of a run",
		Long: `Ls lists every leaf of a checkpoint: its path, kind, dtype, shape, size in
memory and sharding; then the metrics of a step and the custom metadata, abridged
if they are long. It reads no array data.

CKPT is the directory of a checkpoint of Orbax, old or new, or of one of its parts
(/ckpt/step_100/params); of safetensors files, or one such file; of zarr arrays, in
files or in an OCDBT database; or a file of Flax. A path may be a file:// URL.

Of a run, a directory with checkpoints whose names end in a number, it lists these
steps in the order of their numbers, then the other checkpoints in it: when each was
committed, how many leaves it has, their size in memory, and the metrics; last the
custom metadata of the run.

A checkpoint can have several parts. Where there is more than one, each leaf's
path follows the part's name and a slash, which cat takes too; parts that are no
pytrees are listed with their kind. With --name the paths are those in the part,
as cat takes them with the same --name.

The document of --json has these members. Those of unknown value are null.
That of a run follows below.

  path, init_time, commit_time, custom_metadata, metrics
  checkpointables   list, by name, of
    name, kind      the kind is "pytree", "json", "proto", "stateful", "unknown",
                    or what the checkpoint calls it; the name is "" where the
                    checkpoint is its only part itself
    format          of pytrees: "ocdbt+zarr3", "files+zarr2", "safetensors" …
    bytes           of pytrees: of all leaves in memory
    stored_bytes    of pytrees: of all leaves as stored
    leaves          of pytrees: list, in order, of
      path          the keys joined with dots
      keys          the keys: strings in dicts, numbers in sequences
      kind          "jax.Array", "np.ndarray", "scalar", "string", "bytes",
                    "None", "Dict", "List" or "Tuple"; the last three are empty
      dtype, shape, chunk_shape, codecs, prng_impl, sharding
      bytes, stored_bytes
      missing_chunks  how many chunks are not stored and taken for fill value
      error         why the leaf cannot be read; null if nothing is known to be
                    in the way
    error           why nothing can be read of the part; null if it can

The document of a run has these:

  path
  checkpoints       list of
    name, step      the step is the number in the name
    commit_time, leaves, bytes, stored_bytes, metrics
    error           why it cannot be read; null if nothing is known to be in the way
  unfinished        list of names: of saves that go on or have died
  custom_metadata   what the run itself says

A leaf whose document or chunks are missing or cut off, or of a form that is not
known, is listed as unreadable, with what is known of it; so is one with chunks in a
data file of a database that is missing or too short. An error says why, and the
exit status is 1 if it is damaged. The other leaves can be read. So is a part whose
directory or document is missing; the other parts are listed. The sharding of a
jax.Array is unknown where the checkpoint does not record one.

Times are in the form of RFC 3339. Numbers in custom_metadata and metrics that
JSON does not have are the strings "NaN", "Infinity" and "-Infinity" in the document,
and the words NaN, Infinity and -Infinity without --json.` + exitHelp,
		Example: `  orbax ls /ckpt
  orbax ls /ckpt/step_100
  orbax ls /ckpt/step_100 --name params
  orbax ls --json /ckpt/step_100 | jq '.checkpointables[].leaves[] | select(.bytes > 1e9) | .path'`,
		Args: exactly("CKPT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := list(cmd.Context(), args[0], name, fill)
			if err == nil {
				return cmp.Or(write(cmd.OutOrStdout(), l, asJSON), l.err)
			}
			run := (*stepsDir)(nil)
			if name == "" && errors.Is(err, orbax.ErrInvalidCheckpoint) {
				run = readRun(cmd.Context(), args[0])
			}
			if run == nil {
				return err
			}
			of, err := run.list(cmd.Context(), fill)
			if err != nil {
				return err
			}
			return cmp.Or(write(cmd.OutOrStdout(), of, asJSON), of.err)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	cmd.Flags().StringVar(&name, "name", "", "list this part only")
	fill.add(cmd)
	return cmd
}

// write prints a listing, or its document.
func write(w io.Writer, l interface{ print(io.Writer) error }, asJSON bool) error {
	if asJSON {
		return writeJSON(w, l)
	}
	return l.print(w)
}

// listing is what ls prints of a checkpoint; its JSON is described in the verb's help.
type listing struct {
	Path       string     `json:"path"`
	InitTime   *time.Time `json:"init_time"`
	CommitTime *time.Time `json:"commit_time"`
	Custom     jsonValues `json:"custom_metadata"`
	Metrics    jsonValues `json:"metrics"`
	Parts      []part     `json:"checkpointables"`

	err error // the errors of leaves that cannot be read
}

type part struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
	*pytree
	Error *string `json:"error"` // why nothing can be read of the part
}

type pytree struct {
	Format      string `json:"format"`
	Bytes       int64  `json:"bytes"`
	StoredBytes int64  `json:"stored_bytes"`
	Leaves      []leaf `json:"leaves"`
}

type leaf struct {
	Path        string          `json:"path"`
	Keys        []any           `json:"keys"`
	Kind        string          `json:"kind"`
	DType       *string         `json:"dtype"`
	Shape       []int           `json:"shape"`
	ChunkShape  []int           `json:"chunk_shape"`
	Codecs      *string         `json:"codecs"`
	PRNGImpl    *string         `json:"prng_impl"`
	Sharding    json.RawMessage `json:"sharding"`
	Bytes       int64           `json:"bytes"`
	StoredBytes int64           `json:"stored_bytes"`
	Missing     int             `json:"missing_chunks"`
	Error       *string         `json:"error"`

	sharding *sharding.Sharding
}

// list describes a checkpoint, or one part of it.
func list(ctx context.Context, path, name string, fill fillFlag) (*listing, error) {
	ck, err := openCheckpoint(ctx, path)
	if err != nil {
		return nil, err
	}
	defer ck.Close()
	m, err := look(ctx, ck, name, fill.options()...)
	var lost map[string]error
	if err != nil && name == "" && ctx.Err() == nil {
		m, lost, err = lookAtEach(ctx, ck, err, fill.options()...)
	}
	if err != nil {
		return nil, err
	}
	l := &listing{
		Path:       path,
		InitTime:   known(m.InitTime),
		CommitTime: known(m.CommitTime),
		Custom:     jsonValues{m.Custom},
		Metrics:    jsonValues{m.Metrics},
		Parts:      []part{},
	}
	l.err = unreadable(m, lost)
	names := slices.AppendSeq(partNames(ck, name), maps.Keys(lost))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		p := part{Name: name, Kind: "pytree"}
		if err := lost[name]; err != nil {
			text := problemOf(err).Error()
			p.Error = &text
			if kind := kindOf(ctx, m, name); !strings.HasPrefix(kind, "PyTree") {
				p.Kind = kind
			}
		} else if t := treeOf(m, name); t == nil {
			p.Kind = kindOf(ctx, m, name)
		} else if p.pytree, err = describeTree(t); err != nil {
			return nil, err
		}
		l.Parts = append(l.Parts, p)
	}
	return l, nil
}

// problemOf returns what an error of the library says without the path.
func problemOf(err error) error {
	var lib *orbax.Error
	if errors.As(err, &lib) {
		return lib.Err
	}
	return err
}

// unreadable returns the errors of parts and leaves that cannot be read, and of the
// shardings.
func unreadable(m *orbax.CheckpointMetadata, lost map[string]error) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(lost)) {
		errs = append(errs, problemOf(lost[name]))
	}
	var lib *orbax.Error
	if errors.As(m.Err(), &lib) {
		errs = append(errs, lib.Problems()...)
	}
	for _, part := range m.Checkpointables {
		if t, ok := part.(*view.TreeMetadata); ok {
			errs = append(errs, t.ShardingErr)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return inCheckpoint(m.Path, err)
	}
	return nil
}

func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func describeTree(m *view.TreeMetadata) (*pytree, error) {
	p := &pytree{Format: m.Format, Bytes: m.Bytes(), Leaves: make([]leaf, 0, len(m.Leaves))}
	for i := range m.Leaves {
		l, err := describeLeaf(&m.Leaves[i])
		if err != nil {
			return nil, err
		}
		p.StoredBytes += l.StoredBytes
		p.Leaves = append(p.Leaves, l)
	}
	return p, nil
}

func describeLeaf(m *view.LeafMetadata) (leaf, error) {
	l := leaf{
		Path: m.Path.String(), Keys: jsonKeys(m.Path), Kind: kindWord(m),
		Bytes: m.Bytes, StoredBytes: m.StoredBytes, Missing: m.MissingChunks, sharding: m.Sharding,
	}
	if m.DType != array.Invalid {
		dtype, codecs := m.DType.String(), m.Codecs
		l.DType, l.Codecs = &dtype, &codecs
		l.Shape, l.ChunkShape = append([]int{}, m.Shape...), append([]int{}, m.ChunkShape...)
	}
	if m.PRNGImpl != "" {
		l.PRNGImpl = &m.PRNGImpl
	}
	if m.Sharding != nil {
		text, err := m.Sharding.Marshal()
		if err != nil {
			return l, err
		}
		l.Sharding = json.RawMessage(text)
	}
	if m.Err != nil {
		text := m.Err.Error()
		l.Error = &text
	}
	return l, nil
}

// kindWord returns the kind of a leaf as ls prints it.
func kindWord(m *view.LeafMetadata) string {
	switch m.Kind {
	case tree.KindBytes:
		return kindBytes
	case tree.KindScalar:
		return kindScalar
	}
	return m.ValueType
}

// jsonKeys returns a path as JSON shows it: strings for dict keys, numbers for
// positions.
func jsonKeys(p tree.Path) []any {
	keys := make([]any, len(p))
	for i, k := range p {
		if keys[i] = k.Name; k.Seq {
			keys[i] = json.Number(k.Name)
		}
	}
	return keys
}
