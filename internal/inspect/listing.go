package inspect

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
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

// Listing describes a checkpoint. The help of orbax ls describes its JSON.
type Listing struct {
	Path       string     `json:"path"`
	InitTime   *time.Time `json:"init_time"`
	CommitTime *time.Time `json:"commit_time"`
	Custom     Values     `json:"custom_metadata"`
	Metrics    Values     `json:"metrics"`
	Parts      []Part     `json:"checkpointables"`

	Err error `json:"-"` // errors of the leaves that cannot be read
}

// Part is a checkpointable in a [Listing].
type Part struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
	*Pytree
	Error *string `json:"error"` // why nothing of the checkpointable can be read
}

// Pytree describes a checkpointable that is a pytree.
type Pytree struct {
	Format      string `json:"format"`
	Bytes       int64  `json:"bytes"`
	StoredBytes int64  `json:"stored_bytes"`
	Leaves      []Leaf `json:"leaves"`
}

// Leaf is a leaf in a [Listing]. A nil field has no value in the checkpoint.
type Leaf struct {
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

	// Placement is the parsed sharding.
	Placement *sharding.Sharding `json:"-"`
}

// List describes a checkpoint, or its checkpointable called name. It reads no array data.
// Leaves and checkpointables that cannot be read are in the listing, and their errors in
// Err.
func (in Inspector) List(ctx context.Context, path, name string) (*Listing, error) {
	ck, err := in.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer ck.Close()
	m, lost, err := in.lookForList(ctx, ck, name)
	if err != nil {
		return nil, err
	}
	l := &Listing{
		Path:       fault.Redacted(path),
		InitTime:   known(m.InitTime),
		CommitTime: known(m.CommitTime),
		Custom:     Values{m.Custom},
		Metrics:    Values{m.Metrics},
		Parts:      []Part{},
	}
	l.Err = unreadable(m, lost)
	names := slices.AppendSeq(PartNames(ck, name), maps.Keys(lost))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		p := Part{Name: name, Kind: "pytree"}
		if err := lost[name]; err != nil {
			p.Error = message(problemOf(err))
			if kind := in.KindOf(ctx, m, name); !strings.HasPrefix(kind, "PyTree") {
				p.Kind = kind
			}
		} else if t := TreeOf(m, name); t == nil {
			p.Kind = in.KindOf(ctx, m, name)
		} else if p.Pytree, err = describeTree(t); err != nil {
			return nil, err
		}
		l.Parts = append(l.Parts, p)
	}
	return l, nil
}

// problemOf returns an error of the library without its path.
func problemOf(err error) error {
	var lib *orbax.Error
	if errors.As(err, &lib) {
		return lib.Err
	}
	return err
}

// unreadable joins the errors of checkpointables and leaves that cannot be read, and of
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
		return InCheckpoint(m.Path, err)
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

func describeTree(m *view.TreeMetadata) (*Pytree, error) {
	p := &Pytree{Format: m.Format, Bytes: m.Bytes(), Leaves: make([]Leaf, 0, len(m.Leaves))}
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

// describeLeaf describes a leaf for a listing.
func describeLeaf(m *view.LeafMetadata) (Leaf, error) {
	l := Leaf{
		Path: m.Path.String(), Keys: Keys(m.Path), Kind: KindWord(m),
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
	l.Error = message(m.Err)
	return l, nil
}

// KindWord returns the kind of a leaf as ls prints it.
func KindWord(m *view.LeafMetadata) string {
	switch m.Kind {
	case tree.KindBytes:
		return "bytes"
	case tree.KindScalar:
		return "scalar"
	}
	return m.ValueType
}

// Keys returns the keys of a path for JSON: strings for keys of dicts, numbers for
// positions.
func Keys(p tree.Path) []any {
	keys := make([]any, len(p))
	for i, k := range p {
		if keys[i] = k.Name; k.Seq {
			keys[i] = json.Number(k.Name)
		}
	}
	return keys
}
