package inspect

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/partial"
)

// Sessions returns the sessions in the directory at path, or a single session. The latter
// is the result if path is the path of a session or of its checkpoint.
func (in Inspector) Sessions(ctx context.Context, path string) ([]*partial.Session, error) {
	found, err := partial.Sessions(ctx, path, orbax.In(in.Store))
	at, locateErr := in.Locate(ctx, path)
	if (locateErr != nil || !isSession(at.Name)) && !errors.Is(err, orbax.ErrNotExist) {
		return found, err
	}
	s, openErr := partial.Open(ctx, path, orbax.In(in.Store))
	if openErr != nil {
		return found, cmp.Or(err, openErr)
	}
	return []*partial.Session{s}, nil
}

// Session describes a session of partial saves. The help of orbax partial ls describes
// its JSON.
type Session struct {
	Path  string        `json:"path"`
	Parts []sessionPart `json:"parts"`
}

type sessionPart struct {
	Name   *string    `json:"name"`
	Saved  *time.Time `json:"saved"`
	Leaves []string   `json:"leaves"`
	Bytes  int64      `json:"bytes"`
}

// DescribeSessions describes several sessions.
func DescribeSessions(found []*partial.Session) []Session {
	sessions := make([]Session, len(found))
	for i, s := range found {
		sessions[i] = DescribeSession(s)
	}
	return sessions
}

// DescribeSession describes a session.
func DescribeSession(s *partial.Session) Session {
	d := Session{Path: fault.Redacted(s.Path), Parts: []sessionPart{}}
	for _, p := range s.Parts {
		part := sessionPart{Saved: known(p.Saved), Leaves: []string{}, Bytes: p.Bytes}
		if p.Name != "" {
			part.Name = &p.Name
		}
		for _, k := range p.Keys {
			part.Leaves = append(part.Leaves, k.String())
		}
		d.Parts = append(d.Parts, part)
	}
	return d
}

// LeafCount returns the number of leaves in all parts of the session.
func (s Session) LeafCount() (n int) {
	for _, p := range s.Parts {
		n += len(p.Leaves)
	}
	return n
}
