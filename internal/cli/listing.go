package cli

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

// listing describes a checkpoint. The help of orbax ls describes its JSON.
type listing struct {
	Path       string     `json:"path"`
	InitTime   *time.Time `json:"init_time"`
	CommitTime *time.Time `json:"commit_time"`
	Custom     jsonValues `json:"custom_metadata"`
	Metrics    jsonValues `json:"metrics"`
	Parts      []part     `json:"checkpointables"`

	Err error `json:"-"` // the errors of leaves that cannot be read
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

	// Placement is the sharding as it was parsed.
	Placement *sharding.Sharding `json:"-"`
}

// List describes a checkpoint, or its checkpointable called name. It reads no array data.
// Leaves and checkpointables that cannot be read are in the listing, with its Err.
func (in Inspector) List(ctx context.Context, path, name string) (*listing, error) {
	ck, err := in.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer ck.Close()
	m, err := look(ctx, ck, name, in.fill()...)
	var lost map[string]error
	if err != nil && name == "" && ctx.Err() == nil {
		m, lost, err = lookAtEach(ctx, ck, err, in.fill()...)
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
	l.Err = unreadable(m, lost)
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

// describeLeaf describes a leaf as a listing has it.
func describeLeaf(m *view.LeafMetadata) (leaf, error) {
	l := leaf{
		Path: m.Path.String(), Keys: jsonKeys(m.Path), Kind: kindWord(m),
		Bytes: m.Bytes, StoredBytes: m.StoredBytes, Missing: m.MissingChunks, Placement: m.Sharding,
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
		return "bytes"
	case tree.KindScalar:
		return "scalar"
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
