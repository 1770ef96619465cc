package partial

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/proof"
	"github.com/go-orbax/orbax/internal/save"
	"github.com/go-orbax/orbax/internal/union"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/tree"
)

// Save adds the leaves of state, a pytree, to the session of the checkpoint that
// will be at path, and begins the session if there is none. It returns when they
// are complete and durable. After an error, or when ctx is cancelled, the session
// is as it was.
//
// A leaf that is in the session already is refused, and so is a leaf that cannot exist
// beside one that is there, as x.y cannot beside x. The error joins one *orbax.LeafError
// for each, and matches orbax.ErrKeyCollision. A list therefore has to be saved in one
// part. Arrays in another zarr format than that of the parts that are there are refused
// with orbax.ErrUnsupported, because Orbax loads no checkpoint that mixes them. If
// something is at path, the error matches orbax.ErrExist.
//
// Of the options of orbax.Save, Overwrite is refused. Custom metadata of all
// parts is merged; of two values for one key the later counts.
func Save(ctx context.Context, path string, state any, options ...orbax.SaveCheckpointablesOption) error {
	s, err := newSession(path)
	if err != nil {
		return wrap("save", path, err)
	}
	t := join(s.dir)
	defer t.leave()
	return orbax.Save(ctx, s.path, state, s.saveOptions(t, options)...)
}

// SaveAsync is Save in the background, as orbax.SaveAsync is to orbax.Save: it
// returns when state has been copied. A save that begins while another goes on,
// and a Finalize, wait for it. A collision with a part that is still being saved is an
// error of the response.
func SaveAsync(ctx context.Context, path string, state any, options ...orbax.SaveCheckpointablesOption) (*orbax.AsyncResponse, error) {
	s, err := newSession(path)
	if err != nil {
		return nil, wrap("save", path, err)
	}
	t := join(s.dir)
	resp, err := orbax.SaveAsync(ctx, s.path, state, s.saveOptions(t, options)...)
	if err != nil {
		t.leave()
		return nil, err
	}
	resp.OnComplete(func(error) { t.leave() })
	return resp, nil
}

// saveOptions makes orbax.Save save a part when it is its turn.
func (s *session) saveOptions(t *turn, options []orbax.SaveCheckpointablesOption) []orbax.SaveOption {
	var id [16]byte
	rand.Read(id[:])
	p := &newPart{session: s, turn: t, id: hex.EncodeToString(id[:])}
	all := make([]orbax.SaveOption, 0, len(options)+1)
	for _, o := range options {
		all = append(all, o)
	}
	return append(all, p)
}

// ApplySave makes the save one of the part.
func (p *newPart) ApplySave(c *save.Config) {
	c.Into = &save.Into{Accept: p.accept, Begin: p.begin, DigestFile: digestFile(p.id)}
}

// newPart is a part that is being saved.
type newPart struct {
	session *session
	turn    *turn
	id      string
	leaves  []tree.Leaf
	arrays  bool // some leaves are stored as arrays
	zarr2   bool // in zarr format 2
}

// accept looks whether the part can be in one checkpoint with the parts that are there.
func (p *newPart) accept(ctx context.Context, leaves []tree.Leaf, zarr2 bool) error {
	p.leaves, p.zarr2 = leaves, zarr2
	p.arrays = slices.ContainsFunc(leaves, hasArray)
	for i := range p.leaves {
		if _, text := leaves[i].Value.(string); !text {
			p.leaves[i].Value = nil // the save may outlive the caller's state
		}
	}
	_, err := p.check(ctx)
	if err = p.session.orAbsent(ctx, err); errors.Is(err, fault.ErrNotExist) {
		return nil // another process finalizes it; begin looks again
	}
	return err
}

// check returns the time of the last part.
func (p *newPart) check(ctx context.Context) (last int64, err error) {
	exists, err := p.session.exists(ctx)
	if !exists {
		return 0, err
	}
	c, err := p.session.read(ctx)
	if err != nil {
		return 0, err
	}
	var keys union.KeySet
	var stored formats
	for _, old := range c.parts {
		t, err := old.tree(ctx)
		if err != nil {
			return 0, err
		}
		stored.add(old.title(), t)
		for _, l := range t.Leaves {
			keys.Add(l.Path, l.ValueType == layout.String) // what is wrong there is for Finalize to tell
		}
		last = max(last, old.saved)
	}
	errs := collisions(&keys, p.leaves)
	if p.arrays {
		errs = append(errs, stored.accept(p.zarr2))
	}
	return last, errors.Join(errs...)
}

// collisions returns what is wrong with leaves beside keys.
func collisions(keys *union.KeySet, leaves []tree.Leaf) (errs []error) {
	// Leaves of one tree do not collide with each other, but through names in
	// the store; those the save refuses itself.
	for _, l := range leaves {
		_, text := l.Value.(string)
		if err := keys.Add(l.Path, text); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// begin waits for its turn, looks again and starts the stage.
func (p *newPart) begin(ctx context.Context) (storage.Stage, error) {
	if err := p.turn.wait(ctx); err != nil {
		return nil, err
	}
	var stage storage.Stage
	var refused error // what waiting does not change
	err := patiently(ctx, func() (err error) {
		stage, err = p.session.store.Begin(ctx, p.session.dir, storage.BeginOptions{Into: func(ctx context.Context) (name string, err error) {
			name, err = p.entry(ctx)
			refused = err
			return name, err
		}})
		if refused != nil {
			refused = err
			return nil
		}
		return err
	})
	return stage, cmp.Or(err, refused)
}

// entry looks again at the session, which is claimed, and returns the name of the entry
// that the part will be.
func (p *newPart) entry(ctx context.Context) (string, error) {
	// What saves of parts have left that died; if it stays it is in no one's way.
	_ = proof.RemoveLeft(ctx, p.session.store, p.session.dir)
	last, err := p.check(ctx)
	// Parts are merged in the order of their names.
	return fmt.Sprintf("%s%s%d_%s", path.Base(p.session.dir), layout.PendingMark, max(time.Now().UnixNano(), last+1), p.id), err
}
