package object

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// claim is the right to change a directory.
type claim struct {
	s        *Store
	dir, key string
	id       string // the Writer of the record

	ctx  context.Context // ends when the claim is lost
	lose context.CancelCauseFunc
	stop context.CancelFunc // ends the renewals
	done chan struct{}      // closed when they have ended

	writing turn // held while the claim is written
	asking  turn // held while the service is asked for the claim
	beat    int  // of the last write; writing guards it
	kept    bool // there are things in the temporary directory
	// recovered is the work of a dead writer that was undone or finished to get the claim.
	recovered *storage.Work
	// decided says that a change may have been recorded.
	decided bool

	mu        sync.Mutex // guards what follows, and is never held during a request
	rec       record
	version   string
	renewed   time.Time // when the last request began that has written the claim
	confirmed time.Time // when the last request began that has found it intact
	unsure    bool      // a write may have been made whose answer is missing
}

func (s *Store) newClaim(dir string) *claim {
	id := newWriter()
	rec := record{Writer: id, Owner: owner(), Begun: time.Now().UTC().Truncate(time.Second), Lease: s.o.Lease, State: preparing}
	return &claim{s: s, dir: dir, key: claimKey(dir), id: id, rec: rec, writing: newTurn(), asking: newTurn()}
}

// errLost is the error of a writer that another one has replaced.
func (c *claim) errLost(why string) error {
	return fmt.Errorf("%s: %w: the claim of this writer was lost: %s", c.dir, fault.ErrNotExist, why)
}

var errElsewhere = errors.New("the claim is that of another writer")

// claim claims a directory. If a dead writer has the claim, it first undoes or finishes
// what that one has begun. It fails with ErrBusy if a live one has it.
func (s *Store) claim(ctx context.Context, dir string) (*claim, error) {
	c := s.newClaim(dir)
	for range 10 {
		other, err := c.put(ctx, c.rec, PutOptions{IfAbsent: true})
		if err == nil {
			c.begin()
			return c, nil
		}
		if !errors.Is(err, errElsewhere) {
			c.withdraw(ctx, err)
			return nil, err
		}
		if other == nil {
			continue // it has been given up
		}
		if left := other.left(); left > 0 {
			return nil, fmt.Errorf("%s: %w: %s; try again in %v", dir, fault.ErrBusy, other.work(dir), left.Round(time.Second)+time.Second)
		}
		_, err = c.takeOver(ctx, other)
		if errors.Is(err, errElsewhere) {
			continue
		}
		if err == nil {
			c.recovered = other.work(dir)
			if err = c.change(ctx, func(r *record) { r.State, r.Undo = preparing, nil }); err != nil {
				c.abandon()
			}
		}
		if err != nil {
			return nil, err
		}
		return c, nil
	}
	return nil, fmt.Errorf("%s: %w: its claim changes all the time", dir, fault.ErrBusy)
}

// takeOver makes a claim of a dead or revoked writer the own one, and undoes or finishes
// its work. ended reports that the work was finished, not undone. If takeOver fails after
// it has got the claim, it leaves it to the next writer.
func (c *claim) takeOver(ctx context.Context, was *held) (ended bool, err error) {
	dead := was.record
	if dead.State == recovering && dead.Undo != nil {
		dead = *dead.Undo
	}
	rec := c.rec
	rec.State, rec.Undo = recovering, &dead
	if _, err := c.put(ctx, rec, PutOptions{IfVersion: was.info.Version}); err != nil {
		return false, err
	}
	c.begin()
	if err = sleep(ctx, c.pause(was)); err == nil {
		ended, err = c.recover(ctx, dead)
	}
	if err != nil {
		c.abandon()
	}
	return ended, err
}

// pause returns how long a taker waits before it changes anything, because requests that the
// other writer has sent before it lost the claim may be under way. Where versions are those
// of bytes, their conditions may hold for objects that the taker makes, so all of them must
// have arrived before it makes any. The other one has sent none later than a lease after it
// has renewed its claim, or a window after it has lost it.
func (c *claim) pause(was *held) time.Duration {
	window := max(c.window(), was.window())
	if !c.s.limits.VersionOfBytes {
		return window
	}
	const rounding = time.Second // of the times of a service
	last := was.info.Modified.Add(was.lease()).Sub(was.info.Now)
	last = min(last, window-rounding) + rounding
	return max(window, last+c.s.o.Delay)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// put writes the claim. It fails with errElsewhere if another writer has it, which it
// returns, or if there is none although one was to be replaced. The caller holds writing,
// unless it has not begun to renew the claim.
func (c *claim) put(ctx context.Context, rec record, o PutOptions) (other *held, err error) {
	o.Writer = rec.Writer
	for {
		c.beat++
		rec.Beat = c.beat
		text, err := json.Marshal(rec)
		if err != nil {
			return nil, err
		}
		first, attempts := time.Now(), 0
		var start time.Time
		var info Info
		err = c.s.perform(ctx, effort{bytes: int64(len(text)), urgent: true}, func(ctx context.Context) (err error) {
			start = time.Now()
			attempts++
			info, err = c.s.bucket.Put(ctx, c.key, [][]byte{text}, o)
			return err
		})
		refused := errors.Is(err, ErrPrecondition) || errors.Is(err, fs.ErrNotExist)
		c.decided = c.decided || rec.State == changing && (attempts > 1 || !refused)
		if err == nil {
			c.wrote(rec, info.Version, start)
			return nil, nil
		}
		if !refused {
			c.doubt()
			return nil, err
		}
		now, rerr := c.s.readClaim(ctx, c.dir)
		switch {
		case errors.Is(rerr, fs.ErrNotExist):
			return nil, errElsewhere
		case rerr != nil:
			c.doubt()
			return nil, rerr
		case now.Writer != rec.Writer:
			return now, errElsewhere
		case now.Beat == rec.Beat: // the answer was lost
			c.wrote(rec, now.info.Version, first)
			return nil, nil
		}
		// An earlier write of this writer, whose answer was lost, came first.
		o.IfAbsent, o.IfVersion = false, now.info.Version
	}
}

func (c *claim) wrote(rec record, version string, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rec, c.version, c.renewed, c.unsure = rec, version, at, false
	if at.After(c.confirmed) {
		c.confirmed = at
	}
}

func (c *claim) doubt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unsure = true
}

// begin begins to renew the claim.
func (c *claim) begin() {
	c.ctx, c.lose = context.WithCancelCause(context.Background())
	ctx, stop := context.WithCancel(c.ctx)
	c.stop, c.done = stop, make(chan struct{})
	go c.renew(ctx)
}

func (c *claim) renew(ctx context.Context) {
	defer close(c.done)
	tick := time.NewTicker(c.s.o.Lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_ = c.change(ctx, func(*record) {})
			_ = c.alive() // it ends the claim if it could not be renewed for too long
		}
	}
}

// change writes the claim anew.
func (c *claim) change(ctx context.Context, f func(*record)) error {
	if err := c.writing.take(ctx); err != nil {
		return err
	}
	defer c.writing.leave()
	if err := c.alive(); err != nil {
		return err
	}
	c.mu.Lock()
	rec, version, end := c.rec, c.version, c.renewed.Add(c.s.o.Lease)
	c.mu.Unlock()
	f(&rec)
	ctx, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	_, err := c.put(ctx, rec, PutOptions{IfVersion: version})
	if errors.Is(err, errElsewhere) {
		err = c.errLost("another process has it now")
		c.lose(err)
	}
	return c.lostOr(err)
}

// alive returns an error if the claim is lost, or may be.
func (c *claim) alive() error {
	c.mu.Lock()
	late := !time.Now().Before(c.renewed.Add(c.s.o.Lease))
	c.mu.Unlock()
	if late {
		c.lose(c.errLost(fmt.Sprintf("it could not be renewed for %v", c.s.o.Lease)))
	}
	return context.Cause(c.ctx)
}

// check returns an error if the claim is lost. It asks the service if that was not asked
// just now.
func (c *claim) check(ctx context.Context) error {
	if err := c.asking.take(ctx); err != nil {
		return err
	}
	defer c.asking.leave()
	c.mu.Lock()
	recent := since(c.confirmed) < c.window()
	c.mu.Unlock()
	if recent {
		return c.alive()
	}
	return c.ask(ctx)
}

// confirm is check that asks the service in any case.
func (c *claim) confirm(ctx context.Context) error {
	if err := c.asking.take(ctx); err != nil {
		return err
	}
	defer c.asking.leave()
	return c.ask(ctx)
}

func (c *claim) ask(ctx context.Context) error {
	if err := c.alive(); err != nil {
		return err
	}
	c.mu.Lock()
	end := c.renewed.Add(c.s.o.Lease)
	c.mu.Unlock()
	ctx, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	start := time.Now()
	var info Info
	err := c.s.perform(ctx, effort{urgent: true}, func(ctx context.Context) (err error) {
		start = time.Now()
		info, err = c.s.bucket.Stat(ctx, c.key)
		return err
	})
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && info.Writer != c.id:
		err = c.errLost("another process has it now")
		c.lose(err)
	case err == nil:
		c.mu.Lock()
		c.confirmed = start
		c.mu.Unlock()
	default:
		err = c.lostOr(err)
	}
	return err
}

// lostOr returns why the claim is lost, with err, or err alone.
func (c *claim) lostOr(err error) error {
	if lost := c.alive(); err != nil && lost != nil && !errors.Is(err, fault.ErrNotExist) {
		return errors.Join(lost, err)
	}
	return err
}

// isFinal reports whether an error is neither that of a context nor of a bad network.
func isFinal(err error) bool {
	return err != nil && !isTemporary(err) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

// explain returns err, the error of a request that cannot succeed, with the loss of the
// claim if that is the reason.
func (c *claim) explain(err error) error {
	if !isFinal(err) {
		return c.lostOr(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	_ = c.confirm(ctx)
	return c.lostOr(err)
}

// window is how long this writer relies on the last request that found its claim intact.
func (c *claim) window() time.Duration {
	r := record{Lease: c.s.o.Lease}
	return r.window()
}

// since returns how long ago t was, also if this computer slept meanwhile.
func since(t time.Time) time.Duration {
	return max(time.Since(t), time.Now().Round(0).Sub(t.Round(0)))
}

// guard performs a request that changes something. It begins only while the claim is
// intact, and ends when the claim is lost.
func (c *claim) guard(ctx context.Context, e effort, request func(ctx context.Context) error) error {
	ctx, end := during(ctx, c.ctx)
	defer end()
	return c.lostOr(c.s.perform(ctx, e, func(ctx context.Context) error {
		if err := c.check(ctx); err != nil {
			return err
		}
		return request(ctx)
	}))
}

// during returns a context that ends with ctx, and with another one, whose cause it has
// then.
func during(ctx, other context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(other, func() { cancel(context.Cause(other)) })
	return ctx, func() { stop(); cancel(nil) }
}
