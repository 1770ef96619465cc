// Package membucket keeps objects in memory, for tests of programs that save to object
// stores.
//
//	store := object.New(membucket.New(), object.Options{})
package membucket

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-orbax/orbax/storage/object"
)

// Bucket is an [object.Bucket] in memory. Its zero value is empty and ready for use. It
// checks all conditions that a service can check.
type Bucket struct {
	// Small are limits for tests: parts of any size.
	Small bool
	// Weak makes the bucket promise no more than a service must: the version of an object
	// is that of its bytes, as an ETag is, and a copy ignores the conditions of its target.
	Weak bool
	// Clock, if not nil, is the clock of the service, for tests of claims that expire.
	Clock func() time.Time

	mu      sync.Mutex
	objects map[string]stored
	uploads map[*upload]bool
	last    int64 // version that was given last
}

type stored struct {
	data    []byte
	version string
	made    time.Time
	writer  string
}

// New returns an empty bucket.
func New() *Bucket { return &Bucket{} }

// Limits returns those of S3, or none if b.Small is set.
func (b *Bucket) Limits() object.Limits {
	l := object.Limits{MinPart: 5 << 20, MaxPart: 5 << 30, MaxParts: 10_000, ComparesDeletes: true, VersionOfBytes: b.Weak}
	if b.Small {
		l.MinPart = 16
	}
	return l
}

// Get implements [object.Bucket].
func (b *Bucket) Get(ctx context.Context, key, version string, p [][]byte, off int64) (int, object.Info, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o, err := b.at(ctx, "get", key)
	if err != nil {
		return 0, object.Info{}, err
	}
	if version != "" && o.version != version {
		return 0, object.Info{}, failed("get", key)
	}
	n, rest := 0, o.data[min(off, int64(len(o.data))):]
	for _, b := range p {
		n += copy(b, rest)
		rest = rest[min(len(b), len(rest)):]
	}
	return n, b.info(key, o), nil
}

// Stat implements [object.Bucket].
func (b *Bucket) Stat(ctx context.Context, key string) (object.Info, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o, err := b.at(ctx, "stat", key)
	if err != nil {
		return object.Info{}, err
	}
	return b.info(key, o), nil
}

// at returns an object.
func (b *Bucket) at(ctx context.Context, op, key string) (stored, error) {
	if err := ctx.Err(); err != nil {
		return stored{}, err
	}
	o, ok := b.objects[key]
	if !ok {
		return stored{}, &object.Error{Op: op, Key: key, Status: 404, Err: fs.ErrNotExist}
	}
	return o, nil
}

// now returns the time of the service.
func (b *Bucket) now() time.Time {
	if b.Clock != nil {
		return b.Clock()
	}
	return time.Now()
}

func (b *Bucket) info(key string, o stored) object.Info {
	return object.Info{Key: key, Size: int64(len(o.data)), Modified: o.made, Version: o.version, Writer: o.writer, Now: b.now()}
}

func failed(op, key string) error {
	return &object.Error{Op: op, Key: key, Status: 412, Err: object.ErrPrecondition}
}

// pageSize is the most entries of a page.
const pageSize = 1000

// List implements [object.Bucket].
func (b *Bucket) List(ctx context.Context, o object.ListOptions) (object.Page, error) {
	if err := ctx.Err(); err != nil {
		return object.Page{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	page := object.Page{Now: b.now()}
	limit := min(cmp.Or(o.Limit, pageSize), pageSize)
	for _, key := range slices.Sorted(maps.Keys(b.objects)) {
		if !strings.HasPrefix(key, o.Prefix) {
			continue
		}
		entry, grouped := key, false
		if i := strings.Index(key[len(o.Prefix):], "/"); i >= 0 && !o.Flat {
			entry, grouped = key[:len(o.Prefix)+i+1], true
		}
		if entry <= o.Token || grouped && len(page.Prefixes) > 0 && page.Prefixes[len(page.Prefixes)-1] == entry {
			continue
		}
		if len(page.Objects)+len(page.Prefixes) == limit {
			page.Next = lastOf(page)
			break
		}
		if grouped {
			page.Prefixes = append(page.Prefixes, entry)
		} else {
			info := b.info(key, b.objects[key])
			info.Writer, info.Now = "", time.Time{}
			page.Objects = append(page.Objects, info)
		}
	}
	return page, nil
}

// lastOf returns the last entry of a page.
func lastOf(page object.Page) (last string) {
	if n := len(page.Objects); n > 0 {
		last = page.Objects[n-1].Key
	}
	if n := len(page.Prefixes); n > 0 {
		last = max(last, page.Prefixes[n-1])
	}
	return last
}

// Put implements [object.Bucket].
func (b *Bucket) Put(ctx context.Context, key string, body [][]byte, o object.PutOptions) (object.Info, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.put(ctx, "put", key, bytes.Join(body, nil), o)
}

// put makes an object if its conditions hold.
func (b *Bucket) put(ctx context.Context, op, key string, data []byte, o object.PutOptions) (object.Info, error) {
	if err := ctx.Err(); err != nil {
		return object.Info{}, err
	}
	was, ok := b.objects[key]
	if o.IfAbsent && ok || o.IfVersion != "" && was.version != o.IfVersion {
		return object.Info{}, failed(op, key)
	}
	if b.objects == nil {
		b.objects = map[string]stored{}
	}
	b.last++
	version := strconv.FormatInt(b.last, 10)
	if b.Weak {
		version = fmt.Sprintf("%x", sha256.Sum256(data))
	}
	s := stored{data: data, version: version, made: b.now(), writer: o.Writer}
	b.objects[key] = s
	return b.info(key, s), nil
}

// Copy implements [object.Bucket].
func (b *Bucket) Copy(ctx context.Context, from object.Ref, to string, o object.PutOptions) (object.Info, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, err := b.at(ctx, "copy", from.Key)
	if err != nil {
		return object.Info{}, err
	}
	if from.Version != "" && s.version != from.Version {
		return object.Info{}, failed("copy", from.Key)
	}
	o.Writer = cmp.Or(o.Writer, s.writer)
	if b.Weak {
		o.IfAbsent, o.IfVersion = false, ""
	}
	return b.put(ctx, "copy", to, s.data, o)
}

// Delete implements [object.Bucket].
func (b *Bucket) Delete(ctx context.Context, refs []object.Ref) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range refs {
		if o, ok := b.objects[r.Key]; ok && (r.Version == "" || r.Version == o.version) {
			delete(b.objects, r.Key)
		}
	}
	return nil
}

// AbortUploads implements [object.Bucket].
func (b *Bucket) AbortUploads(ctx context.Context, prefix string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.uploads, func(u *upload, _ bool) bool { return strings.HasPrefix(u.key, prefix) })
	return nil
}

// upload is an object whose parts are being uploaded.
type upload struct {
	b     *Bucket
	key   string
	o     object.PutOptions
	parts map[int][]byte
	done  bool
	info  object.Info
}

// Upload implements [object.Bucket].
func (b *Bucket) Upload(ctx context.Context, key string, _ int64, o object.PutOptions) (object.Upload, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	u := &upload{b: b, key: key, o: o, parts: map[int][]byte{}}
	if b.uploads == nil {
		b.uploads = map[*upload]bool{}
	}
	b.uploads[u] = true
	return u, nil
}

// Uploads returns how many uploads are neither complete nor aborted.
func (b *Bucket) Uploads() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.uploads)
}

// Keys returns the keys of all objects, in order.
func (b *Bucket) Keys() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Keys(b.objects))
}

// ended returns an error if the upload has been aborted.
func (u *upload) ended(ctx context.Context, op string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !u.b.uploads[u] {
		return &object.Error{Op: op, Key: u.key, Status: 404, Code: "NoSuchUpload", Message: "the upload has ended"}
	}
	return nil
}

// Part implements [object.Upload].
func (u *upload) Part(ctx context.Context, number int, _ int64, body [][]byte) error {
	u.b.mu.Lock()
	defer u.b.mu.Unlock()
	if err := u.ended(ctx, "part"); err != nil {
		return err
	}
	if number < 1 || number > u.b.Limits().MaxParts {
		return &object.Error{Op: "part", Key: u.key, Status: 400, Message: fmt.Sprint("part number ", number)}
	}
	u.parts[number] = bytes.Join(body, nil)
	return nil
}

// Complete implements [object.Upload].
func (u *upload) Complete(ctx context.Context) (object.Info, error) {
	u.b.mu.Lock()
	defer u.b.mu.Unlock()
	if u.done {
		return u.info, nil
	}
	if err := u.ended(ctx, "complete"); err != nil {
		return object.Info{}, err
	}
	var data []byte
	numbers := slices.Sorted(maps.Keys(u.parts))
	for i, n := range numbers {
		if part := u.parts[n]; i < len(numbers)-1 && int64(len(part)) < u.b.Limits().MinPart {
			return object.Info{}, &object.Error{Op: "complete", Key: u.key, Status: 400, Code: "EntityTooSmall", Message: fmt.Sprintf("part %d has %d bytes", n, len(part))}
		}
		data = append(data, u.parts[n]...)
	}
	info, err := u.b.put(ctx, "complete", u.key, data, u.o)
	if err == nil {
		u.done, u.info = true, info
		delete(u.b.uploads, u)
	}
	return info, err
}

// Abort implements [object.Upload].
func (u *upload) Abort(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	u.b.mu.Lock()
	defer u.b.mu.Unlock()
	delete(u.b.uploads, u)
	return nil
}
