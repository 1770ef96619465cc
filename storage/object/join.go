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
	Dir    string `json:"dir"`             // that is claimed
	Entry  string `json:"entry,omitempty"` // that is written, if it is not Dir itself
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
	if !ok || err != nil || t.Dir == "" || keyOf(t.Dir) != t.Dir || !isWriter(t.Writer) || !isEntry(t.Marker) || t.Entry != "" && !isEntry(t.Entry) {
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
	j := &joined{t: t, files: newFiles(s, t.Dir, t.Entry, t.Writer, t.Marker)}
	j.lost, j.lose = context.WithCancelCause(context.Background())
	j.check, j.confirm = j.ask, j.ask
	j.explain = func(err error) error {
		if !isFinal(err) {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), answerTime)
		defer cancel()
		if lost := j.ask(ctx); j.lost.Err() != nil {
			err = errors.Join(lost, err)
		}
		return err
	}
	j.settle = func(_ context.Context, key, writer string) error {
		j.note(key, writer)
		return nil // Close asks
	}
	if err := j.ask(ctx); err != nil {
		j.lose(err)
		return nil, err
	}
	if t.Replaces {
		// What is there may belong to the directory that is replaced, or to other writers of
		// the stage. The owner moves what takes its place from the temporary directory.
		objects, _, err := s.all(ctx, j.dir)
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

// ask asks the service whether the owner of the stage has its claim. It asks each
// time: the owner waits for nobody when it ends its stage.
func (j *joined) ask(ctx context.Context) error {
	info, err := j.s.infoOf(ctx, claimKey(j.t.Dir))
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
		err = j.discardLate(ctx)
	}
	if err == nil {
		err = j.ask(ctx)
	}
	if err != nil {
		cctx, cancel := j.s.patient()
		defer cancel()
		j.abortOpen(cctx)
		if j.lost.Err() != nil {
			_ = j.discardMade(cctx)
		}
	}
	return err
}

// Revoke ends a stage for a caller that cannot wait for its owner.
func (s *Store) Revoke(ctx context.Context, text string) error {
	t, err := parseTicket(text)
	if err != nil {
		return err
	}
	c := s.newClaim(t.Dir)
	for range 10 {
		was, err := s.readClaim(ctx, t.Dir)
		switch {
		case errors.Is(err, fs.ErrNotExist), err == nil && !was.has(t.Writer):
			return t.gone()
		case err != nil:
			return err
		}
		ended, err := c.takeOver(ctx, was)
		if errors.Is(err, errElsewhere) {
			continue // the owner has renewed its claim
		}
		if err != nil {
			return err
		}
		if err := c.giveUp(); err != nil {
			return err
		}
		if ended {
			return t.gone()
		}
		return nil
	}
	return fmt.Errorf("%s: %w: its claim changes all the time", t.Dir, fault.ErrBusy)
}

// has reports whether a claim is that of a writer, or of one that has died while it was
// recovering what that one had left.
func (h *held) has(writer string) bool {
	return h.Writer == writer || h.State == recovering && h.Undo.Writer == writer && h.left() <= 0
}
