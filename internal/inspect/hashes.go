package inspect

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/view"
)

// Hashes holds the digests of a checkpoint. The help of orbax hash describes its JSON.
type Hashes struct {
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

// Hash hashes the pytrees of a checkpoint, or the one called name. With patterns it
// hashes only the leaves that match them. If leaves is set, it also returns the digest of
// each leaf.
func (in Inspector) Hash(ctx context.Context, path, name string, patterns []string, leaves bool) (*Hashes, error) {
	options := OptionsOf[orbax.LoadOption](in.Fill())
	if len(patterns) > 0 {
		options = append(options, orbax.Select(patterns...))
	}
	ck, err := in.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer ck.Close()
	names := PartNames(ck, name)
	h := &Hashes{Path: fault.Redacted(path)}
	trees := 0
	for _, n := range names {
		part := hashedPart{Name: n}
		t, err := in.OpenTree(ctx, ck, path, n, options...)
		switch {
		case errors.Is(err, ErrNoPytree) && name == "":
		case err != nil:
			return nil, err
		default:
			if err := part.add(ctx, t, leaves); err != nil {
				return nil, InCheckpoint(path, err)
			}
			trees++
		}
		h.Parts = append(h.Parts, part)
	}
	if trees == 0 {
		return nil, InCheckpoint(path, fmt.Errorf("%w: no pytree among its checkpointables: %s", orbax.ErrStructure, fault.List(names)))
	}
	return h, nil
}

// add hashes the tree t.
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
		p.Leaves = append(p.Leaves, hashedLeaf{path.String(), Keys(path), sums[i]})
	}
	return nil
}
