package object_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/storage/object/membucket"
)

// service is a bucket in memory with a clock of its own.
type service struct {
	*membucket.Bucket
	mu   sync.Mutex
	skew time.Duration
}

// newService returns a service with small parts. A weak one checks no more than a service
// must.
func newService(weak bool) *service {
	s := &service{}
	s.Bucket = &membucket.Bucket{Small: true, Weak: weak, Clock: s.now}
	return s
}

// now returns the time of the service.
func (s *service) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Add(s.skew)
}

// wait lets time pass for the service, so that every claim of a dead writer expires.
func (s *service) wait(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.skew += d
}

// act is the fate of a request.
type act int

const (
	succeeds  act = iota
	fails         // before it is done; the next attempt may succeed
	refused       // before it is done, for good
	unheard       // it is done, and its answer is lost
	stalls        // until its context ends
	dies          // the process dies before the request
	diesAfter     // the process dies after the request
	pauses        // the process is stopped before the request, until it is continued
	delayed       // the request is under way until the process is continued
)

func (a act) String() string {
	return []string{"succeeds", "fails", "is refused", "is done and its answer is lost", "stalls", "is not sent by a process that dies", "is the last of a process that dies", "is not sent by a process that is stopped", "is delayed"}[a]
}

// client is a service as one process reaches it.
type client struct {
	*service
	// script says what happens to request n, from 1 on. nil: all succeed.
	script func(n int, op, key string) act
	// sees, if not nil, is called for each object that is put.
	sees func(key string, size int)

	lock    sync.Mutex
	n       int
	log     []string
	dead    bool
	paused  chan struct{} // closed when the process is continued
	stopped chan struct{} // closed when the process has been stopped
}

func newClient(s *service, script func(n int, op, key string) act) *client {
	return &client{service: s, script: script, stopped: make(chan struct{})}
}

// once is a script in which something happens to request n alone.
func once(n int, a act) func(int, string, string) act {
	return func(i int, _, _ string) act {
		if i == n {
			return a
		}
		return succeeds
	}
}

// resume continues the process.
func (c *client) resume() {
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.paused != nil {
		close(c.paused)
		c.paused = nil
	}
}

func (c *client) requests() (int, []string) {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.n, slices.Clone(c.log)
}

func (c *client) do(ctx context.Context, op, key string, request func(ctx context.Context) error) error {
	c.lock.Lock()
	for c.paused != nil {
		wait := c.paused
		c.lock.Unlock()
		<-wait
		c.lock.Lock()
	}
	c.n++
	n := c.n
	a := succeeds
	if c.script != nil {
		a = c.script(n, op, key)
	}
	c.log = append(c.log, fmt.Sprintf("%d %s %s", n, op, key))
	if c.dead {
		a = dies
	}
	var wait chan struct{}
	switch a {
	case dies, diesAfter:
		c.dead = true
	case pauses, delayed:
		wait = make(chan struct{})
		c.paused = wait
		close(c.stopped)
	}
	c.lock.Unlock()
	broken := &object.Error{Op: op, Key: key, Message: "the connection broke", Temporary: true}
	switch a {
	case fails:
		return broken
	case refused:
		return &object.Error{Op: op, Key: key, Status: 403, Message: "refused"}
	case unheard:
		_ = request(ctx)
		return broken
	case stalls:
		<-ctx.Done()
		return ctx.Err()
	case dies:
		return &object.Error{Op: op, Key: key, Message: "this process is dead"}
	case diesAfter:
		_ = request(ctx)
		return &object.Error{Op: op, Key: key, Message: "this process is dead"}
	case pauses:
		<-wait
	case delayed:
		return c.delay(wait, func() error { return request(context.WithoutCancel(ctx)) }, broken)
	}
	return request(ctx)
}

// late is how long a request may be under way to a weak service: it does not arrive later.
const late = 3 * time.Second

// delay performs a request when the process is continued. If the service is weak, the request
// arrives before it is late, or never.
func (c *client) delay(wait chan struct{}, request func() error, broken error) error {
	begun, last := time.Now(), make(<-chan time.Time)
	if c.Weak {
		last = time.After(late * 3 / 4)
	}
	select {
	case <-wait:
	case <-last:
	}
	err := broken
	if !c.Weak || time.Since(begun) < late {
		err = request()
	}
	<-wait
	return err
}

func (c *client) Get(ctx context.Context, key, version string, bufs [][]byte, off int64) (n int, info object.Info, err error) {
	err = c.do(ctx, "get", key, func(ctx context.Context) error {
		n, info, err = c.Bucket.Get(ctx, key, version, bufs, off)
		return err
	})
	if err != nil {
		n = 0
	}
	return n, info, err
}

func (c *client) Stat(ctx context.Context, key string) (info object.Info, err error) {
	err = c.do(ctx, "stat", key, func(ctx context.Context) error {
		info, err = c.Bucket.Stat(ctx, key)
		return err
	})
	return info, err
}

func (c *client) List(ctx context.Context, o object.ListOptions) (page object.Page, err error) {
	err = c.do(ctx, "list", o.Prefix, func(ctx context.Context) error {
		page, err = c.Bucket.List(ctx, o)
		return err
	})
	if err != nil {
		return object.Page{}, err
	}
	return page, nil
}

// made returns the result of a write whose answer arrives.
func made(info object.Info, err error) (object.Info, error) {
	if err != nil {
		return object.Info{}, err
	}
	return info, nil
}

func (c *client) Put(ctx context.Context, key string, body [][]byte, o object.PutOptions) (info object.Info, err error) {
	if c.sees != nil {
		c.sees(key, int(lengthOf(body)))
	}
	err = c.do(ctx, "put", key, func(ctx context.Context) error {
		info, err = c.Bucket.Put(ctx, key, body, o)
		return err
	})
	return made(info, err)
}

func (c *client) Copy(ctx context.Context, from object.Ref, to string, o object.PutOptions) (info object.Info, err error) {
	err = c.do(ctx, "copy", from.Key+" to "+to, func(ctx context.Context) error {
		info, err = c.Bucket.Copy(ctx, from, to, o)
		return err
	})
	if err == nil {
		info.Size, info.Writer = 0, ""
	}
	return made(info, err)
}

func (c *client) Delete(ctx context.Context, refs []object.Ref) error {
	var keys []string
	for _, r := range refs {
		keys = append(keys, r.Key)
	}
	return c.do(ctx, "delete", strings.Join(keys, " "), func(ctx context.Context) error { return c.Bucket.Delete(ctx, refs) })
}

func (c *client) AbortUploads(ctx context.Context, prefix string) error {
	return c.do(ctx, "abort all", prefix, func(ctx context.Context) error { return c.Bucket.AbortUploads(ctx, prefix) })
}

func (c *client) Upload(ctx context.Context, key string, size int64, o object.PutOptions) (object.Upload, error) {
	var u object.Upload
	err := c.do(ctx, "upload", key, func(ctx context.Context) (err error) {
		u, err = c.Bucket.Upload(ctx, key, size, o)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &clientUpload{c, key, u}, nil
}

type clientUpload struct {
	c   *client
	key string
	u   object.Upload
}

func (u *clientUpload) Part(ctx context.Context, number int, off int64, body [][]byte) error {
	return u.c.do(ctx, "part", u.key, func(ctx context.Context) error { return u.u.Part(ctx, number, off, body) })
}

func (u *clientUpload) Complete(ctx context.Context) (info object.Info, err error) {
	err = u.c.do(ctx, "complete", u.key, func(ctx context.Context) error {
		info, err = u.u.Complete(ctx)
		return err
	})
	return made(info, err)
}

func (u *clientUpload) Abort(ctx context.Context) error {
	return u.c.do(ctx, "abort", u.key, u.u.Abort)
}

// marker is the marker of the stages of these tests.
const marker = "commit_success.txt"

// options are those of the stores of these tests.
var options = object.Options{Lease: 6 * time.Second, Patience: 10 * time.Second, PartSize: 64, Delay: time.Millisecond}

// contents returns the files below a directory, without a request of a client.
func contents(s *service, dir string) map[string]string {
	files := map[string]string{}
	for _, key := range s.Keys() {
		if name, below := strings.CutPrefix(key, dir+"/"); below {
			files[name] = read(s, key)
		}
	}
	return files
}

func read(s *service, key string) string {
	info, err := s.Bucket.Stat(context.Background(), key)
	if err != nil {
		return ""
	}
	p := make([]byte, info.Size)
	s.Bucket.Get(context.Background(), key, info.Version, [][]byte{p}, 0)
	return string(p)
}

// everything is a look that allows all that is there.
func everything(s *service) storage.Look {
	return func(_ context.Context, dir string) ([]storage.Item, error) {
		var items []storage.Item
		for name := range contents(s, dir) {
			items = append(items, storage.Item{Name: strings.TrimSuffix(name, "/"), Dir: strings.HasSuffix(name, "/")})
		}
		return items, nil
	}
}

// write writes a file by writes of at most 50 bytes.
func write(ctx context.Context, to storage.Files, name, text string) error {
	w, err := to.Create(ctx, name, -1)
	if err != nil {
		return err
	}
	for off := 0; off < len(text); off += 50 {
		if err = w.WriteAt(ctx, []byte(text[off:min(off+50, len(text))]), int64(off)); err != nil {
			break
		}
	}
	return errors.Join(err, w.Close())
}

// writeAll writes files, the marker last.
func writeAll(ctx context.Context, to storage.Files, files map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if name == marker {
			continue
		}
		if err := write(ctx, to, name, files[name]); err != nil {
			return err
		}
	}
	if text, ok := files[marker]; ok {
		return write(ctx, to, marker, text)
	}
	return nil
}

// save saves a directory.
func save(ctx context.Context, s storage.Store, dir string, files map[string]string, replace storage.Look) error {
	g, err := s.Begin(ctx, dir, storage.BeginOptions{Marker: marker, Replace: replace})
	if err != nil {
		return err
	}
	if err := writeAll(ctx, g, files); err != nil {
		return errors.Join(err, g.Abort())
	}
	return g.Commit(ctx)
}

// keysOf returns the keys of files in a directory.
func keysOf(dir string, files map[string]string) []string {
	var keys []string
	for name := range files {
		keys = append(keys, dir+"/"+name)
	}
	slices.Sort(keys)
	return keys
}

// long is the text of a file that is uploaded in parts.
func long(seed string) string { return strings.Repeat(seed+".", 400/(len(seed)+1)) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
