// Package buckettest tests an [object.Bucket] against its contract. The test of a bucket
// is
//
//	func TestContract(t *testing.T) {
//		buckettest.Run(t, func(t *testing.T) object.Bucket { return membucket.New() }, buckettest.Options{})
//	}
//
// What the contract leaves to the service, such as the comparison of versions in a
// deletion, is tested where the bucket says that it does it.
package buckettest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/go-orbax/orbax/storage/object"
)

// Options say what else [Run] can test.
type Options struct {
	// Uploads returns how many uploads of a bucket are neither complete nor aborted. If it
	// is nil, the tests do not know whether Abort and AbortUploads leave parts.
	Uploads func(t *testing.T, b object.Bucket) int
}

// Run tests a bucket. It calls open for each test. open returns an empty bucket, which only
// this test uses.
func Run(t *testing.T, open func(t *testing.T) object.Bucket, o Options) {
	for _, group := range []struct {
		name  string
		tests []test
	}{
		{"get", getTests}, {"put", putTests}, {"list", listTests}, {"upload", uploadTests},
		{"copy", copyTests}, {"delete", deleteTests}, {"cancel", cancelTests},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, c := range group.tests {
				t.Run(c.name, func(t *testing.T) {
					c.run(&env{T: t, b: open(t), o: o})
				})
			}
		})
	}
}

// test is one rule that a bucket keeps.
type test struct {
	name string
	run  func(e *env)
}

// env is the environment of one test.
type env struct {
	*testing.T
	b object.Bucket
	o Options
}

// racers is how many goroutines race where one must win.
const racers = 20

// data returns n bytes that depend on seed.
func data(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewPCG(seed, uint64(n))
	words, end := b[:n/8*8], b[n/8*8:]
	for i := 0; i < len(words); i += 8 {
		binary.LittleEndian.PutUint64(words[i:], r.Uint64())
	}
	for i := range end {
		end[i] = byte(r.Uint64())
	}
	return b
}

// must ends the test with an error.
func (e *env) must(what string, err error) {
	e.Helper()
	if err != nil {
		e.Fatalf("%s: %v", what, err)
	}
}

// want fails the test unless err matches target.
func (e *env) want(what string, err, target error) {
	e.Helper()
	if !errors.Is(err, target) {
		e.Errorf("%s: got the error %v, want %v", what, err, target)
	}
	var described *object.Error
	if err != nil && !errors.As(err, &described) {
		e.Errorf("%s: the error %T %v is no *object.Error", what, err, err)
	}
}

// put makes an object.
func (e *env) put(key string, b []byte) object.Info {
	e.Helper()
	info, err := e.b.Put(e.Context(), key, [][]byte{b}, object.PutOptions{})
	e.must("Put "+key, err)
	return info
}

// holds fails the test unless the object has these bytes.
func (e *env) holds(key string, want []byte) object.Info {
	e.Helper()
	p := make([]byte, len(want)+1)
	n, info, err := e.b.Get(e.Context(), key, "", [][]byte{p}, 0)
	if err != nil {
		e.Fatalf("Get %s: %v", key, err)
	}
	if !bytes.Equal(p[:n], want) {
		e.Errorf("the object %q has %d bytes that differ from the %d expected ones", key, n, len(want))
	}
	return info
}

// lacks fails the test unless the object is missing.
func (e *env) lacks(key string) {
	e.Helper()
	_, err := e.b.Stat(e.Context(), key)
	e.want("Stat of "+key+", which must be missing", err, fs.ErrNotExist)
}

// list returns all keys and prefixes of all pages.
func (e *env) list(o object.ListOptions) (keys, prefixes []string) {
	e.Helper()
	for range 10_000 {
		page, err := e.b.List(e.Context(), o)
		e.must("List", err)
		for _, i := range page.Objects {
			keys = append(keys, i.Key)
		}
		prefixes = append(prefixes, page.Prefixes...)
		if o.Token = page.Next; o.Token == "" {
			return keys, prefixes
		}
	}
	e.Fatal("List has no last page")
	return nil, nil
}

// isTemporary reports whether the bucket says that err may pass.
func isTemporary(err error) bool {
	var described *object.Error
	return errors.As(err, &described) && described.Temporary
}

// race runs do at the same time in several goroutines, again after a temporary error, and
// returns which one succeeded. It fails the test unless exactly one did, and the others
// got ErrPrecondition.
func (e *env) race(do func(ctx context.Context, i int) error) (winner int) {
	e.Helper()
	errs := make([]error, racers)
	start := make(chan struct{})
	var wait sync.WaitGroup
	for i := range errs {
		wait.Go(func() {
			<-start
			for try := range 20 {
				if errs[i] = do(e.Context(), i); !isTemporary(errs[i]) {
					return
				}
				time.Sleep(time.Duration(try) * 10 * time.Millisecond)
			}
		})
	}
	close(start)
	wait.Wait()
	winner = -1
	for i, err := range errs {
		switch {
		case err == nil && winner >= 0:
			e.Errorf("the goroutines %d and %d both won", winner, i)
		case err == nil:
			winner = i
		default:
			e.want("a goroutine that lost", err, object.ErrPrecondition)
		}
	}
	if winner < 0 {
		e.Fatal("no goroutine won")
	}
	return winner
}

// inParallel runs do n times, 16 at the same time.
func (e *env) inParallel(n int, do func(i int) error) {
	e.Helper()
	var wait sync.WaitGroup
	room := make(chan struct{}, 16)
	errs := make([]error, n)
	for i := range n {
		room <- struct{}{}
		wait.Go(func() {
			errs[i] = do(i)
			<-room
		})
	}
	wait.Wait()
	e.must("in parallel", errors.Join(errs...))
}

// about fails the test unless the service's time at is about now. A service may have
// another clock, but a test has one on the same machine, whose times have whole seconds.
func (e *env) about(what string, at time.Time) {
	e.Helper()
	if d := time.Since(at); at.IsZero() || d > 5*time.Minute || d < -time.Minute {
		e.Errorf("%s is %v, want about %v", what, at, time.Now())
	}
}
