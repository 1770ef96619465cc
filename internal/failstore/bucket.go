package failstore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-orbax/orbax/storage/object"
)

// Bucket is an [object.Bucket] that takes Delay for each request, as a service in a network
// does, and counts the requests.
type Bucket struct {
	object.Bucket
	Delay time.Duration
	// Fail, if not nil, is called before each request. If it returns an error, that is the
	// answer, and the request is not made. Several goroutines may call it.
	Fail func(op, key string) error

	mu       sync.Mutex
	asked    []string // the requests since the last Take
	answered int      // the longest chain of requests that have been answered
}

// Requests are the requests of a [Bucket].
type Requests struct {
	All []string // the name of the method and the key, in order
	// Rounds is the length of the longest chain of requests of which each began after the
	// one before was answered.
	Rounds int
}

// String has a line for each request that differs from the others, with its number.
func (r Requests) String() string {
	n := map[string]int{}
	for _, q := range r.All {
		n[q]++
	}
	var lines []string
	for q := range n {
		lines = append(lines, fmt.Sprintf("%3d %s\n", n[q], q))
	}
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[4:], b[4:]) })
	return fmt.Sprintf("%d requests, %d one after the other\n%s", len(r.All), r.Rounds, strings.Join(lines, ""))
}

// Take returns the requests since the last call of Take.
func (b *Bucket) Take() Requests {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := Requests{b.asked, b.answered}
	b.asked, b.answered = nil, 0
	return r
}

// ask makes a request.
func (b *Bucket) ask(ctx context.Context, op, key string) error {
	b.mu.Lock()
	b.asked = append(b.asked, op+" "+key)
	round := b.answered + 1
	b.mu.Unlock()
	select {
	case <-time.After(b.Delay):
	case <-ctx.Done():
		return ctx.Err()
	}
	if b.Fail != nil {
		if err := b.Fail(op, key); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answered = max(b.answered, round)
	return nil
}

func (b *Bucket) Get(ctx context.Context, key, version string, p [][]byte, off int64) (int, object.Info, error) {
	if err := b.ask(ctx, "Get", key); err != nil {
		return 0, object.Info{}, err
	}
	return b.Bucket.Get(ctx, key, version, p, off)
}

func (b *Bucket) Stat(ctx context.Context, key string) (object.Info, error) {
	if err := b.ask(ctx, "Stat", key); err != nil {
		return object.Info{}, err
	}
	return b.Bucket.Stat(ctx, key)
}

func (b *Bucket) List(ctx context.Context, o object.ListOptions) (object.Page, error) {
	if err := b.ask(ctx, "List", o.Prefix); err != nil {
		return object.Page{}, err
	}
	return b.Bucket.List(ctx, o)
}

func (b *Bucket) Put(ctx context.Context, key string, body [][]byte, o object.PutOptions) (object.Info, error) {
	if err := b.ask(ctx, "Put", key); err != nil {
		return object.Info{}, err
	}
	return b.Bucket.Put(ctx, key, body, o)
}

func (b *Bucket) Copy(ctx context.Context, from object.Ref, to string, o object.PutOptions) (object.Info, error) {
	if err := b.ask(ctx, "Copy", to); err != nil {
		return object.Info{}, err
	}
	return b.Bucket.Copy(ctx, from, to, o)
}

func (b *Bucket) Delete(ctx context.Context, refs []object.Ref) error {
	if err := b.ask(ctx, "Delete", ""); err != nil {
		return err
	}
	return b.Bucket.Delete(ctx, refs)
}

func (b *Bucket) Upload(ctx context.Context, key string, size int64, o object.PutOptions) (object.Upload, error) {
	if err := b.ask(ctx, "Upload", key); err != nil {
		return nil, err
	}
	u, err := b.Bucket.Upload(ctx, key, size, o)
	if err != nil {
		return nil, err
	}
	return &upload{u, b, key}, nil
}

type upload struct {
	object.Upload
	b   *Bucket
	key string
}

func (u *upload) Part(ctx context.Context, number int, off int64, body [][]byte) error {
	if err := u.b.ask(ctx, "Part", u.key); err != nil {
		return err
	}
	return u.Upload.Part(ctx, number, off, body)
}

func (u *upload) Complete(ctx context.Context) (object.Info, error) {
	if err := u.b.ask(ctx, "Complete", u.key); err != nil {
		return object.Info{}, err
	}
	return u.Upload.Complete(ctx)
}

func (u *upload) Abort(ctx context.Context) error {
	if err := u.b.ask(ctx, "Abort", u.key); err != nil {
		return err
	}
	return u.Upload.Abort(ctx)
}
