// Package handover lets the processes of a load divide the reading of what several of them
// want, and hand each other what they have read.
//
// All processes compute the same division, so that each knows without a message what it
// reads, to whom it sends it, and what it gets from whom (divide.go). A process that gets
// something listens for the time of the load, and the others connect to it (dial.go), over
// the network that package tcp has (network.go). The two sides prove to each other that
// they know a secret of this one load, and then one sends the bytes in frames, each with a
// checksum (wire.go). Everything that arrives has a size and a place that the receiver
// knows already, so it takes no memory.
package handover

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"sync"
	"time"

	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/internal/compare"
	"github.com/go-orbax/orbax/internal/exchanged"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/sharding"
)

// Session is a load of one process that shares the reading with the other processes of a
// group. A nil Session is a load of one process alone.
type Session struct {
	group   *coord.Group
	process sharding.Process
	op      *coord.Op
	options string
	network Network
	address string

	turn  sync.Mutex // of Share
	item  string     // what is loaded
	ended bool       // all processes know that the load has failed
}

// Begin begins the operation. options describe the load, and must be the same in all
// processes, each of which then calls [Session.Share] equally often and at the end
// [Session.End]. address is where this process listens in the network; see [Network].
func Begin(group *coord.Group, process sharding.Process, options string, network Network, address string) *Session {
	return &Session{group: group, process: process, op: group.Begin("the load"), options: options, network: network, address: address}
}

// Process returns which process of the group this one is.
func (s *Session) Process() sharding.Process { return s.process }

// SetItem sets the name of the checkpointable that is loaded next.
func (s *Session) SetItem(name string) {
	if s != nil {
		s.item = name
	}
}

type key struct{}

// With returns a context for a load that belongs to a session, or to none if s is nil.
func With(ctx context.Context, s *Session) context.Context {
	if s == From(ctx) {
		return ctx
	}
	return context.WithValue(ctx, key{}, s)
}

// From returns the session of a context, or nil.
func From(ctx context.Context) *Session {
	s, _ := ctx.Value(key{}).(*Session)
	return s
}

// Task describes a load that the processes of a session share.
type Task struct {
	// Lines say what this process loads. They must be the same in all processes.
	Lines iter.Seq[compare.Line]
	// Pieces is the memory to fill. Two pieces that the same processes hold have the same
	// order in all of them.
	Pieces []Piece
	// Read reads parts into the memory of their pieces. It is called for some parts at a
	// time, never twice at the same time.
	Read func(ctx context.Context, parts []Part) error
	// Err is not nil if this process cannot load. Pieces and Read are not used then.
	Err error
}

// The phases of a task, and of the end of a session.
const (
	planPhase    = "plan"    // all load the same
	connectPhase = "connect" // each process knows the addresses of the others
	sharePhase   = "share"   // each process has read its part and has got those of others
	loadedPhase  = "loaded"
)

// Share performs a task. It returns nil if all processes have all of their pieces.
// Otherwise the contents of the pieces are unspecified, and all processes get an error.
// When it returns, it has left neither connections nor goroutines.
func (s *Session) Share(ctx context.Context, t Task) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	if s.ended {
		return fmt.Errorf("%w: the other processes know that the load has failed", fault.ErrUsage)
	}
	lines := func(yield func(compare.Line) bool) {
		if !yield(compare.Line{Text: s.options}) || t.Err != nil {
			return
		}
		for l := range t.Lines {
			l.Item = s.item
			if !yield(l) {
				return
			}
		}
	}
	if _, err := compare.Lines(ctx, s.op, s.group.Rank(), planPhase, "load", lines, nil, t.Err); err != nil {
		s.ended = true
		return err
	}
	m := newMover(s.group, s.network, divide(t.Pieces, s.group.Rank(), s.group.Size(), partBytes), t.Read)
	addresses, err := m.listen(ctx, s.address)
	defer m.close()
	if m.secret, m.addresses, err = s.meet(ctx, addresses, err); err != nil {
		s.ended = true
		return err
	}
	watched, cancel := s.op.Watch(ctx)
	err = s.outcome(watched, m.run(watched))
	cancel()
	if err := s.agree(ctx, sharePhase, err); err != nil {
		s.ended = true
		return err
	}
	return nil
}

// meeting holds the data by which the processes connect.
type meeting struct {
	Secret    []byte // of rank 0
	Addresses map[int][]string
}

// meet exchanges the addresses at which the processes listen, and a new secret. Only the
// processes of the group can read them.
func (s *Session) meet(ctx context.Context, addresses []string, err error) ([]byte, map[int][]string, error) {
	own := meeting{Addresses: map[int][]string{}}
	if s.group.Rank() == 0 {
		own.Secret = make([]byte, secretBytes)
		_, _ = rand.Read(own.Secret) // does not fail
	}
	if len(addresses) > 0 {
		own.Addresses[s.group.Rank()] = addresses
	}
	doc, err := s.op.Exchange(ctx, connectPhase, exchanged.Encode(own), err, mergeMeetings)
	if err != nil {
		return nil, nil, err
	}
	all, err := decodeMeeting(doc)
	if err == nil && len(all.Secret) != secretBytes {
		err = fmt.Errorf("%w: process 0 has sent no secret", fault.ErrCorrupt)
	}
	return all.Secret, all.Addresses, err
}

func mergeMeetings(docs [][]byte) ([]byte, error) {
	merged := meeting{Addresses: map[int][]string{}}
	for _, doc := range docs {
		one, err := decodeMeeting(doc)
		if err != nil {
			return nil, err
		}
		if one.Secret != nil {
			merged.Secret = one.Secret
		}
		maps.Copy(merged.Addresses, one.Addresses)
	}
	return exchanged.Encode(merged), nil
}

func decodeMeeting(doc []byte) (m meeting, err error) {
	if json.Unmarshal(doc, &m) != nil { // its error could show the secret
		return m, fmt.Errorf("%w: the addresses that another process has sent", fault.ErrCorrupt)
	}
	return m, nil
}

// reportTime is how long a process whose connection has failed waits for the report of
// the process on the other side.
const reportTime = time.Second

// outcome returns what this process reports after it has moved bytes with the outcome err.
// A process that has failed reports why, and ends its connections. Those at the other ends
// of these do not add to that.
func (s *Session) outcome(watched context.Context, err error) error {
	if err == nil {
		return nil
	}
	own := new(readError)
	if errors.As(err, &own) {
		if watched.Err() != nil && errors.Is(own.err, context.Canceled) && byOthers(watched) {
			return coord.ErrStopped
		}
		return own.err
	}
	if errors.As(err, new(*coord.LostError)) && !byOthers(watched) {
		return err
	}
	wait := time.NewTimer(reportTime)
	defer wait.Stop()
	select {
	case <-watched.Done():
	case <-wait.C:
	}
	switch {
	case byOthers(watched):
		return coord.ErrStopped
	case watched.Err() != nil:
		return cmp.Or(context.Cause(watched), err)
	}
	return err
}

// byOthers reports whether another process has ended the context of a watch.
func byOthers(watched context.Context) bool {
	return errors.As(context.Cause(watched), new(*coord.Error))
}

// agree ends a phase. A process that has failed reports that, even if ctx has ended.
func (s *Session) agree(ctx context.Context, phase string, err error) error {
	if err != nil {
		patient, cancel := exchanged.Patient(ctx)
		defer cancel()
		ctx = patient
	}
	return s.op.Agree(ctx, phase, err)
}

// End ends the session. err is the outcome of the load in this process. End returns nil if
// it is nil in all of them.
func (s *Session) End(ctx context.Context, err error) error {
	if s == nil {
		return err
	}
	if !s.ended {
		agreed := s.agree(ctx, loadedPhase, err)
		if err == nil || errors.Is(agreed, err) {
			err = agreed
		} else {
			err = errors.Join(err, agreed)
		}
	}
	return s.op.End(ctx, err)
}
