package object

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// ticket is the contents of a stage's ticket.
type ticket struct {
	Dir    string `json:"dir"`
	Writer string `json:"writer"`
	Marker string `json:"marker"`
	// Replaces says that the directory was there before.
	Replaces bool `json:"replaces,omitempty"`
}

const ticketPrefix = "object-store:"

func parseTicket(text string) (t ticket, err error) {
	coded, ok := strings.CutPrefix(text, ticketPrefix)
	if ok {
		var b []byte
		if b, err = base64.RawURLEncoding.DecodeString(coded); err == nil {
			err = json.Unmarshal(b, &t)
		}
	}
	if !ok || err != nil || t.Dir == "" || keyOf(t.Dir) != t.Dir || len(t.Writer) != 16 || !fs.ValidPath(t.Marker) {
		return ticket{}, fmt.Errorf("%w: this is no ticket of an object store", fault.ErrReservedName)
	}
	return t, nil
}

// gone is the error for a stage that has ended.
func (t ticket) gone() error {
	return fmt.Errorf("%s: %w: the stage has ended", t.Dir, fault.ErrNotExist)
}

// joined writes to the stage of another process.
type joined struct {
	*files
	t    ticket
	lose context.CancelCauseFunc
}

// Join returns the [storage.Joined] that writes to a stage.
func (s *Store) Join(ctx context.Context, text string) (storage.Joined, error) {
	t, err := parseTicket(text)
	if err != nil {
		return nil, err
	}
	j := &joined{t: t, files: &files{s: s, dir: t.Dir, id: t.Writer, marker: t.Marker}}
	j.lost, j.lose = context.WithCancelCause(context.Background())
	j.check = j.confirm
	j.init()
	if err := j.confirm(ctx); err != nil {
		j.lose(err)
		return nil, err
	}
	if t.Replaces {
		// What is there may belong to the directory that is replaced, or to other writers of
		// the stage. The owner moves what takes its place from the temporary directory.
		objects, _, err := s.all(ctx, t.Dir)
		if err != nil {
			j.lose(err)
			return nil, err
		}
		j.keep = map[string]string{}
		for _, o := range objects {
			j.keep[o.Key] = o.Version
		}
	}
	return j, nil
}

// confirm asks the service whether the owner of the stage has its claim. It asks each
// time: the owner waits for nobody when it ends its stage.
func (j *joined) confirm(ctx context.Context) error {
	var info Info
	err := j.s.try(ctx, func(ctx context.Context) (err error) {
		info, err = j.s.bucket.Stat(ctx, claimKey(j.t.Dir))
		return err
	})
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && info.Writer != j.t.Writer:
		err = j.t.gone()
		j.lose(err)
	}
	return err
}

// Create creates a file, but not the marker.
func (j *joined) Create(ctx context.Context, name string, size int64) (storage.Writer, error) {
	if name == j.t.Marker {
		return nil, fmt.Errorf("%w: %q is written by whoever has begun the save", fault.ErrReservedName, name)
	}
	return j.files.Create(ctx, name, size)
}

// Close ends the writing.
func (j *joined) Close(ctx context.Context) error {
	first, err := j.end(fmt.Errorf("%s: the writer has been closed", j.t.Dir))
	if !first {
		return err
	}
	defer j.lose(j.t.gone())
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = j.putDirs(ctx)
	}
	if err == nil {
		err = j.confirm(ctx)
	}
	if err != nil {
		cctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), j.s.o.Patience)
		defer cancel()
		j.abortOpen(cctx)
	}
	return err
}

// Revoke ends a stage for a caller that cannot wait for its owner.
func (s *Store) Revoke(ctx context.Context, text string) error {
	t, err := parseTicket(text)
	if err != nil {
		return err
	}
	c := &claim{s: s, dir: t.Dir, key: claimKey(t.Dir)}
	c.rec = record{Writer: newWriter(), Owner: owner(), Lease: s.o.Lease}
	for range 10 {
		was, info, err := s.readClaim(ctx, c.key)
		switch {
		case errors.Is(err, fs.ErrNotExist), err == nil && was.Writer != t.Writer:
			return t.gone()
		case err != nil:
			return err
		}
		ended, err := c.takeOver(ctx, was, info.Version)
		if errors.Is(err, ErrPrecondition) {
			continue // the owner has renewed its claim
		}
		if err != nil {
			return err
		}
		if err := c.release(ctx); err != nil {
			return err
		}
		if ended {
			return t.gone()
		}
		return nil
	}
	return fmt.Errorf("%s: %w: its claim changes all the time", t.Dir, fault.ErrBusy)
}
