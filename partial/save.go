package partial

import (
	"context"
	"crypto/rand"
	"encoding/hex"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/save"
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
	s, err := newSession(ctx, path, save.NewConfig(options).Store)
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
	s, err := newSession(ctx, path, save.NewConfig(options).Store)
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
	all := make([]orbax.SaveOption, 0, len(options)+1)
	for _, o := range options {
		all = append(all, o)
	}
	return append(all, partOption{s, t})
}

// partOption makes a save one of a part of a session.
type partOption struct {
	session *session
	turn    *turn
}

func (o partOption) ApplySave(c *save.Config) {
	c.Unmerged = true
	c.Target = func(at save.Place) save.Target {
		var id [16]byte
		rand.Read(id[:])
		return &newPart{Place: at, session: o.session, turn: o.turn, id: hex.EncodeToString(id[:])}
	}
}
