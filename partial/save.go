package partial

import (
	"context"
	"crypto/rand"
	"encoding/hex"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/config"
	"github.com/go-orbax/orbax/internal/save"
)

// Save adds the leaves of state, a pytree, to the session of the checkpoint that will be
// at path. It begins the session if there is none. It returns when the leaves are
// complete and durable. After an error, or if ctx is cancelled, the session is unchanged.
//
// Save refuses a leaf that the session has already, and a leaf that cannot exist beside a
// leaf of the session, as x.y cannot exist beside x. The error joins one
// *[orbax.LeafError] for each such leaf, and matches [orbax.ErrKeyCollision]. A list must
// be saved in one part, because the elements of every list count from 0. If arrays would
// be in another zarr format than the arrays of the session, the error matches
// [orbax.ErrUnsupported], because Orbax loads no checkpoint with both formats. The error
// also matches it if the store cannot remove the session, as [Finalize] and [Abort] do. If
// something is at path, the error matches [orbax.ErrExist].
//
// With the option multihost.Together the processes of a group save a part together.
//
// Save refuses the option [orbax.Overwrite]. The custom metadata of all parts are merged.
// If two parts have a value for one key, the later part counts.
func Save(ctx context.Context, path string, state any, options ...orbax.SaveCheckpointablesOption) error {
	c := save.NewConfig(options)
	s, err := newSession(ctx, path, c.Store)
	if err != nil {
		return refuse(ctx, path, state, options, c, err)
	}
	t := s.joinAs(c.Process().Rank)
	defer t.leave()
	return orbax.Save(ctx, s.final.Path(), state, s.saveOptions(t, options)...)
}

// SaveAsync is [Save] in the background, as [orbax.SaveAsync] is for [orbax.Save]. It
// returns when it has copied state. A save that begins while another runs, and a
// [Finalize], wait for it. A collision with a part that is still being saved is an error
// of the response.
func SaveAsync(ctx context.Context, path string, state any, options ...orbax.SaveCheckpointablesOption) (resp *orbax.AsyncResponse, err error) {
	c := save.NewConfig(options)
	s, err := newSession(ctx, path, c.Store)
	if err != nil {
		return nil, refuse(ctx, path, state, options, c, err)
	}
	t := s.joinAs(c.Process().Rank)
	defer func() {
		if resp == nil { // refused, or a handler has panicked
			t.leave()
		}
	}()
	if resp, err = orbax.SaveAsync(ctx, s.final.Path(), state, s.saveOptions(t, options)...); err != nil {
		return nil, err
	}
	resp.OnComplete(func(error) { t.leave() })
	return resp, nil
}

// refuse returns the error of a save that cannot begin because of err. The other processes
// of a group have to know, so there it is an error of the save itself.
func refuse(ctx context.Context, path string, state any, options []orbax.SaveCheckpointablesOption, c *save.Config, err error) error {
	if c.Group == nil {
		return wrap(ctx, "save", path, err)
	}
	return orbax.Save(ctx, path, state, append(config.Convert[orbax.SaveOption](options), refused{err})...)
}

// refused is an option that makes a save fail.
type refused struct{ err error }

func (o refused) ApplySave(c *save.Config) { c.Refused = o.err }

// saveOptions adds to options the option that makes orbax.Save save a part at its turn.
func (s *session) saveOptions(t *turn, options []orbax.SaveCheckpointablesOption) []orbax.SaveOption {
	return append(config.Convert[orbax.SaveOption](options), partOption{s, t})
}

// partOption makes a save a save of a part.
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
