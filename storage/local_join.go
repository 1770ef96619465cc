package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
)

// localTicket names a target and the temporary directory beside it, which is locked until
// the stage ends.
type localTicket struct {
	target string
	temp   string // last element of the name of the temporary directory
	id     string // identity of that directory, "" if the system has none
	marker string // marker of a stage that writes to the target itself
	in     string // identity of the target of such a stage, "" if the system has none
}

// ticketScheme begins the tickets of the local store.
const ticketScheme = "local-stage:"

func (t localTicket) String() string {
	v := url.Values{"target": {t.target}, "temp": {t.temp}, "id": {t.id}}
	if t.marker != "" {
		v.Set("marker", t.marker)
		v.Set("in", t.in)
	}
	return ticketScheme + v.Encode()
}

// parseTicket accepts only the name of a temporary directory that a stage of this package
// can have made beside its target.
func parseTicket(text string) (t localTicket, err error) {
	rest, ok := strings.CutPrefix(text, ticketScheme)
	v, err := url.ParseQuery(rest)
	if ok && err == nil {
		t = localTicket{v.Get("target"), v.Get("temp"), v.Get("id"), v.Get("marker"), v.Get("in")}
		_, ours := IsTemporary(t.temp)
		ok = ours && t.target != "" && t.target == path.Clean(t.target) && path.Base(t.temp) == t.temp &&
			isTempOf(t.temp, path.Base(t.target)) && (t.marker == "" || checkName(context.Background(), t.marker) == nil)
	}
	if !ok || err != nil {
		return t, errTicket(text)
	}
	return t, nil
}

func errTicket(text string) error {
	return fmt.Errorf("%w: %q is not the ticket of a save to the local disk", fault.ErrReservedName, text)
}

// Ticket returns a ticket for the temporary directory.
func (s *localStage) Ticket() string { return s.ticket().String() }

func (s *localStage) ticket() localTicket {
	return localTicket{target: s.target, temp: path.Base(s.tmp), id: s.sharedID()}
}

// sharedID notes that the stage has other writers, and returns the identity of its directory
// for a ticket.
func (s *localStage) sharedID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shared = true
	if id := s.folders.id("."); id != nil {
		return id.text()
	}
	return ""
}

// Ticket returns a ticket for the target and for the temporary directory beside it.
func (s *markerStage) Ticket() string {
	t := s.claim.ticket()
	t.marker, t.in = s.marker, s.sharedID()
	return t.String()
}

func (l *local) Join(ctx context.Context, text string) (Joined, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	t, err := parseTicket(text)
	if err != nil {
		return nil, err
	}
	s, err := l.join(t)
	if err != nil {
		return nil, err
	}
	if t.marker == "" {
		return &localJoined{s, s.leave}, nil
	}
	m, err := joinMarked(s, t)
	if err != nil {
		s.folders.end()
		return nil, err
	}
	return &localJoined{m, m.leave}, nil
}

// joinMarked returns a stage that writes to the target of another writer, whose claim has
// been joined.
func joinMarked(claim *localStage, t localTicket) (*markerStage, error) {
	m := emptyMarkerStage(claim, t.marker)
	m.shared = true
	if err := m.folders.begin(m.tmp); err != nil {
		return nil, orEnded(err)
	}
	m.live = func() error {
		if err := claim.live(); err != nil {
			return err
		}
		if _, err := os.Lstat(path.Join(m.tmp, m.marker)); err == nil { // the directory has been committed
			return errEnded
		}
		return orEnded(m.same())
	}
	err := m.live()
	if err == nil && m.folders.id(".").text() != t.in {
		err = errEnded
	}
	if err != nil {
		m.folders.end()
		return nil, err
	}
	return m, nil
}

// localJoined hides the methods that only the owner of the stage may call.
type localJoined struct {
	Files
	leave func(context.Context) error
}

func (j *localJoined) Close(ctx context.Context) error { return j.leave(ctx) }

// join returns a stage that writes to the temporary directory of another writer.
func (l *local) join(t localTicket) (*localStage, error) {
	s := emptyStage(l.sys, t.target)
	s.tmp = path.Join(path.Dir(t.target), t.temp)
	s.shared = true
	if err := s.folders.begin(s.tmp); err != nil {
		return nil, orEnded(err)
	}
	// Without locks the directory itself shows whether the stage has ended: then it is
	// gone.
	locked := l.sys.locked(s.tmp) || locks(path.Dir(s.tmp))
	s.live = func() error {
		err := s.same()
		if err == nil && locked && !l.sys.locked(s.tmp) {
			err = errEnded
		}
		return orEnded(err)
	}
	err := s.live()
	if id := s.folders.id("."); err == nil && id.text() != t.id {
		err = errEnded
	}
	if err == nil && !isUsedAs(t.temp, t.marker) { // the ticket has been changed
		err = errTicket(t.String())
	}
	if err != nil {
		s.folders.end()
		return nil, err
	}
	return s, nil
}

// same fails if the path of the temporary directory leads to another directory by now.
func (s *localStage) same() error {
	d, err := openOwn(s.tmp, ".")
	if err != nil {
		return err
	}
	defer d.close()
	return d.mustBe(*s.folders.id("."), s.tmp)
}

// errEnded reports that a ticket's stage has ended.
var errEnded = fmt.Errorf("%w: the save with this ticket has ended", fault.ErrNotExist)

// orEnded returns errEnded, with err, if err reports that a temporary directory is gone
// or has been replaced.
func orEnded(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errAppeared) {
		return fmt.Errorf("%w (%w)", errEnded, err)
	}
	return err
}

// leave makes durable everything that was written, and ends this stage but not the
// owner's.
func (s *localStage) leave(ctx context.Context) error {
	return s.leaveBy(func(dirs []string) error {
		if err := s.syncAll(ctx, dirs); err != nil {
			return err
		}
		return s.check(ctx, dirs)
	})
}

// leaveBy calls sync to make the directories durable, and ends this stage but not the
// owner's.
func (s *localStage) leaveBy(sync func(dirs []string) error) error {
	dirs, err := s.finish()
	if errors.Is(err, errFinished) {
		return err
	}
	defer s.folders.end()
	if err == nil {
		err = s.live()
	}
	if err == nil {
		err = s.orRevoked(sync(dirs))
	}
	if err == nil {
		err = s.live()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.open {
		f.close()
	}
	return fault.AsNoSpace(err)
}

func (s *markerStage) leave(ctx context.Context) error {
	err := s.claim.leaveBy(func([]string) error { return s.placed() }) // its files have been moved to the target
	if errors.Is(err, errFinished) {
		return err
	}
	return errors.Join(err, s.localStage.leaveBy(func(dirs []string) error {
		if err := s.sync(ctx); err != nil {
			return err
		}
		return s.check(ctx, dirs)
	}))
}
