package object

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// record is the contents of a claim: an object beside a directory whose maker is the only
// one who may change the directory. Its maker renews it, which gives it another version.
// A record that was not renewed for long is that of a dead writer, and says what the next
// one has to undo or to finish.
type record struct {
	Writer string        `json:"writer"`          // 16 hexadecimal digits
	Owner  string        `json:"owner,omitempty"` // for people
	Lease  time.Duration `json:"lease_ns"`
	Beat   int           `json:"beat"` // makes each version different
	State  state         `json:"state"`
	// Change is what is to be done in the state changing.
	Change *change `json:"change,omitempty"`
	// Undo is the record of a dead writer whose work this one undoes or finishes.
	Undo *record `json:"undo,omitempty"`
}

// state is what the maker of a claim does.
type state string

const (
	preparing  state = "preparing"  // nothing has been changed
	writing    state = "writing"    // objects are added; all of them go if the writer dies
	changing   state = "changing"   // the change is finished whatever happens
	recovering state = "recovering" // Undo is undone or finished
)

// change is the change of a directory that was there before.
type change struct {
	Marker Ref      `json:"marker"`           // the old marker, which goes first; no Version: there is none
	Copies []copied `json:"copies,omitempty"` // from the temporary directory
	Remove []Ref    `json:"remove,omitempty"`
	// From is the new marker in the temporary directory, which comes last, and Writer its
	// maker; no Key: there is none.
	From   Ref    `json:"from"`
	Writer string `json:"writer,omitempty"`
}

type copied struct {
	From Ref    `json:"from"`
	To   string `json:"to"`
}

// claimKey returns the key of the claim of a directory. It looks like the name of a
// temporary directory, so that everybody ignores it.
func claimKey(dir string) string { return tempKey(dir, hexOf(sha256.Sum256([]byte("claim of "+dir)))) }

// tempKey returns the key of a temporary directory, without a slash at its end.
func tempKey(dir, id string) string { return dir + storage.TempMarker + "-" + id }

// hexOf returns 16 hexadecimal digits, one of them a letter, as the names of temporary
// directories have them.
func hexOf(b [32]byte) string { return "a" + hex.EncodeToString(b[:8])[1:] }

func newWriter() string {
	var b [32]byte
	rand.Read(b[:]) // does not fail
	return hexOf(b)
}

// owner describes this process.
var owner = sync.OnceValue(func() string {
	host, _ := os.Hostname()
	return fmt.Sprintf("process %d on %s", os.Getpid(), host)
})

// claim is the right to change a directory.
type claim struct {
	s        *Store
	dir, key string

	mu        sync.Mutex // held during a renewal
	rec       record
	version   string
	confirmed time.Time // when the last request began that found the claim intact

	ctx   context.Context // ends when the claim is lost
	lose  context.CancelCauseFunc
	ended sync.Once
	stop  chan struct{} // closed by abandon
	done  chan struct{} // closed when the renewals have ended
}

// errLost is the error of a writer that another one has replaced.
func (c *claim) errLost(why string) error {
	return fmt.Errorf("%s: %w: the claim of this writer was lost: %s", c.dir, fault.ErrNotExist, why)
}

// claim claims a directory. If a dead writer has the claim, it first undoes or finishes
// what that one has begun. It fails with ErrBusy if a live one has it.
func (s *Store) claim(ctx context.Context, dir string) (*claim, error) {
	c := &claim{s: s, dir: dir, key: claimKey(dir)}
	c.rec = record{Writer: newWriter(), Owner: owner(), Lease: s.o.Lease, State: preparing}
	for range 10 {
		err := c.put(ctx, c.rec, PutOptions{IfAbsent: true})
		if err == nil {
			c.begin()
			return c, nil
		}
		if !errors.Is(err, ErrPrecondition) {
			return nil, err
		}
		was, info, err := s.readClaim(ctx, c.key)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return nil, err
		}
		left := info.Modified.Add(was.patience()).Sub(info.Now)
		if left > 0 {
			return nil, fmt.Errorf("%s: %w: %s", dir, fault.ErrBusy, was.describe(left))
		}
		_, err = c.takeOver(ctx, was, info.Version)
		switch {
		case errors.Is(err, ErrPrecondition):
			continue
		case err != nil:
			return nil, err
		}
		if err := c.change(ctx, func(r *record) { r.State, r.Undo = preparing, nil }); err != nil {
			c.abandon()
			return nil, err
		}
		return c, nil
	}
	return nil, fmt.Errorf("%s: %w: its claim changes all the time", dir, fault.ErrBusy)
}

// describe says who has a claim.
func (r *record) describe(left time.Duration) string {
	who := "another writer"
	if r.Owner != "" {
		who = r.Owner
	}
	return fmt.Sprintf("%s works on it; if that has died, it is free in %v", who, left.Round(time.Second)+time.Second)
}

// patience is how long a claim counts after its last renewal.
func (r *record) patience() time.Duration {
	lease := r.Lease
	if lease <= 0 || lease > time.Hour { // it was damaged
		lease = time.Minute
	}
	return lease*3/2 + time.Second
}

// takeOver makes a claim of a dead or revoked writer the own one, and undoes or finishes
// its work. ended reports that the work was finished, not undone. If takeOver fails after
// it has got the claim, it leaves it to the next writer.
func (c *claim) takeOver(ctx context.Context, was record, version string) (ended bool, err error) {
	if was.State == recovering && was.Undo != nil {
		was = *was.Undo
	}
	rec := c.rec
	rec.State, rec.Undo = recovering, &was
	if err := c.put(ctx, rec, PutOptions{IfVersion: version}); err != nil {
		return false, err
	}
	c.begin()
	// A request that the other one has sent before it lost the claim may be under way.
	if err = sleep(ctx, c.window()); err == nil {
		ended, err = c.recover(ctx, was)
	}
	if err != nil {
		c.abandon()
	}
	return ended, err
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// window is how long a writer relies on the last request that found its claim intact,
// before it makes something new.
func (c *claim) window() time.Duration { return min(time.Second, c.s.o.Lease/30) }

// put writes the claim. If the answer was lost, it looks whether the write has succeeded.
func (c *claim) put(ctx context.Context, rec record, o PutOptions) error {
	rec.Beat++
	text, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	o.Writer = rec.Writer
	start := time.Now()
	var info Info
	err = c.s.perform(ctx, effort{int64(len(text)), true}, func(ctx context.Context) error {
		start = time.Now()
		info, err = c.s.bucket.Put(ctx, c.key, [][]byte{text}, o)
		return err
	})
	if errors.Is(err, ErrPrecondition) {
		found := make([]byte, len(text)+1)
		n, i, gerr := c.s.get(ctx, c.key, "", [][]byte{found}, 0)
		if gerr == nil && bytes.Equal(found[:n], text) {
			info, err = i, nil
		}
	}
	if err == nil {
		c.rec, c.version, c.confirmed = rec, info.Version, start
	}
	return err
}

// readClaim reads a claim. One that is not valid has an empty record.
func (s *Store) readClaim(ctx context.Context, key string) (record, Info, error) {
	text := make([]byte, headBytes)
	n, info, err := s.get(ctx, key, "", [][]byte{text}, 0)
	if err == nil && info.Size > int64(n) && info.Size <= maxClaim {
		text = make([]byte, info.Size)
		n, info, err = s.get(ctx, key, info.Version, [][]byte{text}, 0)
	}
	if err != nil {
		return record{}, info, err
	}
	var rec record
	if json.Unmarshal(text[:n], &rec) != nil {
		rec = record{}
	}
	return rec, info, nil
}

// maxClaim is the size up to which a claim is read. A change of a hundred thousand files
// is some tens of megabytes.
const maxClaim = 256 << 20

// begin begins to renew the claim.
func (c *claim) begin() {
	c.ctx, c.lose = context.WithCancelCause(context.Background())
	c.stop, c.done = make(chan struct{}), make(chan struct{})
	go c.renew()
}

func (c *claim) renew() {
	defer close(c.done)
	tick := time.NewTicker(c.s.o.Lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-c.stop:
			return
		case <-tick.C:
			_ = c.change(c.ctx, func(*record) {}) // alive reports when it has failed for too long
		}
	}
}

// change writes the claim anew.
func (c *claim) change(ctx context.Context, f func(*record)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.alive(); err != nil {
		return err
	}
	rec := c.rec
	f(&rec)
	ctx, cancel := context.WithDeadline(ctx, c.confirmed.Add(c.s.o.Lease))
	defer cancel()
	err := c.put(ctx, rec, PutOptions{IfVersion: c.version})
	if errors.Is(err, ErrPrecondition) { // perhaps by a write of its own, of which it did not get the answer
		if err = c.confirm(ctx); err == nil {
			err = c.put(ctx, rec, PutOptions{IfVersion: c.version})
		}
	}
	if errors.Is(err, ErrPrecondition) || errors.Is(err, fs.ErrNotExist) {
		err = c.errLost("another process has it now")
		c.lose(err)
	}
	return err
}

// alive returns an error if the claim is lost, or may be. The caller holds mu.
func (c *claim) alive() error {
	if c.ctx.Err() == nil && time.Since(c.confirmed) > c.s.o.Lease {
		c.lose(c.errLost(fmt.Sprintf("it could not be renewed for %v", c.s.o.Lease)))
	}
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	return nil
}

// check returns an error if the claim is lost. It asks the service if that was not asked
// just now.
func (c *claim) check(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.alive(); err != nil {
		return err
	}
	if time.Since(c.confirmed) < c.window() {
		return nil
	}
	return c.confirm(ctx)
}

// confirm asks the service whether the claim is intact. The caller holds mu.
func (c *claim) confirm(ctx context.Context) error {
	start := time.Now()
	var info Info
	err := c.s.perform(ctx, effort{urgent: true}, func(ctx context.Context) (err error) {
		start = time.Now()
		info, err = c.s.bucket.Stat(ctx, c.key)
		return err
	})
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && info.Writer != c.rec.Writer:
		err = c.errLost("another process has it now")
		c.lose(err)
	case err == nil:
		c.confirmed, c.version = start, info.Version
	}
	return err
}

// abandon ends the renewals. The claim stays, and the next writer recovers it.
func (c *claim) abandon() {
	c.ended.Do(func() { close(c.stop) })
	<-c.done
	c.lose(c.errLost("it has ended"))
}

// patient returns a context for the requests that clean up.
func (c *claim) patient() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), c.s.o.Patience)
}

// giveUp is release without the context of a caller.
func (c *claim) giveUp(refs ...Ref) error {
	ctx, cancel := c.patient()
	defer cancel()
	return c.release(ctx, refs...)
}

// release gives up the claim, and removes other objects with it.
func (c *claim) release(ctx context.Context, refs ...Ref) error {
	c.abandon()
	return c.s.remove(ctx, append(refs, Ref{c.key, c.version}))
}
