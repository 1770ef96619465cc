package pytree

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/places"
)

// PlacesFiles returns the names of the records of places that the digests cover. all
// reports that one save wrote the whole pytree, so its record has every array.
func PlacesFiles(d *ckdir.ReadDir) (names []string, all bool) {
	if d.Covered(layout.PlacesFile) {
		return []string{layout.PlacesFile}, true
	}
	if !d.Covered(layout.TreeFile) {
		return nil, false // another writer's
	}
	return d.CoveredBeginning(layout.PlacesPrefix), false
}

// records are a pytree's records of places. They are read with the first array, because a
// tree is opened without them.
type records struct {
	dir *ckdir.ReadDir

	mu     sync.Mutex
	places *places.Places // nil until they have been read
	err    error          // the damage to them; no array can be read without them
}

// newRecords returns the records of the pytree in dir. It returns nil if there are none.
func newRecords(dir *ckdir.ReadDir) *records {
	if names, _ := PlacesFiles(dir); len(names) == 0 {
		return nil
	}
	return &records{dir: dir}
}

// of returns the seals of an array of n chunks; see [places.Places.Of].
func (r *records) of(ctx context.Context, name string, n int) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.places == nil && r.err == nil {
		p, err := readPlaces(ctx, r.dir)
		if err != nil {
			err = r.dir.Unchanged(ctx, err)
		}
		if err != nil && (ctx.Err() != nil || !fault.IsFinding(err)) {
			return "", err // the next read may succeed
		}
		r.places, r.err = p, err
	}
	if r.err != nil {
		return "", r.err
	}
	return r.places.Of(name, n)
}

// failed returns the damage to the records, or nil.
func (r *records) failed() error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// readPlaces reads the pytree's records. It returns nil if there are none. It ignores a
// record that no digest covers, because that may belong to another save.
func readPlaces(ctx context.Context, d *ckdir.ReadDir) (*places.Places, error) {
	names, all := PlacesFiles(d)
	if len(names) == 0 {
		return nil, nil
	}
	p := &places.Places{All: all}
	for _, name := range names {
		doc, err := d.ReadFile(ctx, name)
		if ckdir.NotExist(err) {
			err = fmt.Errorf("%w: missing file %s", fault.ErrCorrupt, name)
		}
		if err != nil {
			return nil, err
		}
		arrays, err := places.Parse(doc)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		p.Arrays = append(p.Arrays, arrays...)
	}
	if len(names) == 1 {
		return p, nil
	}
	byName := func(a, b places.Array) int { return strings.Compare(a.Name, b.Name) }
	slices.SortFunc(p.Arrays, byName)
	for i := range p.Arrays[min(1, len(p.Arrays)):] {
		if p.Arrays[i].Name == p.Arrays[i+1].Name {
			return nil, fmt.Errorf("%w: array %q is in two of the files %q", fault.ErrCorrupt, p.Arrays[i].Name, names)
		}
	}
	return p, nil
}
