package object

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// Options choose how a [Store] works. The zero value suits the clouds. With a value outside
// of its bounds, such as a negative one, every operation of the store fails with an error
// that matches orbax.ErrUsage and names the value.
type Options struct {
	// Lease is how long a writer that has died keeps its path from others, about: other
	// processes take the path over when its claim has not been renewed for one and a half
	// leases, by the clock of the service. A writer that cannot renew its claim for a lease
	// cannot commit any more. 0 means 30 seconds; the least is 100 milliseconds, and the
	// most a day.
	Lease time.Duration
	// Patience is how long a request that fails is tried again, if it may succeed later. 0
	// means one minute. A read that moves at least 1 KiB a second makes progress, and may
	// take as long as it needs; a slower one counts as failed.
	Patience time.Duration
	// PartSize is the number of bytes that one request moves, about. 0 means 8 MiB. The
	// limits of the bucket bound it.
	PartSize int64
	// Concurrency is how many requests of one save or load run at the same time, at most
	// 4,096. 0 means what the bucket wants, or 16.
	Concurrency int
	// Delay is how long a request may be under way to the service after its sender has given
	// it up. A writer that takes the place of another one waits until that one's requests
	// have arrived, where versions do not tell the objects of the two apart (see
	// Limits.VersionOfBytes). 0 means 20 seconds, after which a request without an answer is
	// given up.
	Delay time.Duration
}

func (o Options) withDefaults(l Limits) Options {
	o.Lease = cmp.Or(o.Lease, 30*time.Second)
	o.Patience = cmp.Or(o.Patience, time.Minute)
	o.Delay = cmp.Or(o.Delay, answerTime)
	o.PartSize = max(cmp.Or(o.PartSize, 8<<20), l.MinPart)
	if l.MaxPart > 0 { // the last part may have nearly twice as many bytes
		o.PartSize = max(min(o.PartSize, l.MaxPart/2), l.MinPart)
	}
	o.Concurrency = cmp.Or(o.Concurrency, max(l.Concurrency, 0), 16)
	return o
}

// maxConcurrency bounds Options.Concurrency, and maxLease the lease that other writers accept.
const (
	maxConcurrency = 4096
	minLease       = 100 * time.Millisecond
	maxLease       = 24 * time.Hour
)

// validate returns an error if a value has no meaning.
func (o Options) validate() error {
	switch {
	case o.Lease != 0 && (o.Lease < minLease || o.Lease > maxLease):
		return fmt.Errorf("%w: object.Options: Lease is %v, which must be 0, or between %v and %v", fault.ErrUsage, o.Lease, minLease, maxLease)
	case o.Patience < 0:
		return fmt.Errorf("%w: object.Options: Patience is %v, which must not be negative", fault.ErrUsage, o.Patience)
	case o.Delay < 0 || o.Delay > maxLease:
		return fmt.Errorf("%w: object.Options: Delay is %v, which must be between 0 and %v", fault.ErrUsage, o.Delay, maxLease)
	case o.PartSize < 0:
		return fmt.Errorf("%w: object.Options: PartSize is %d, which must not be negative", fault.ErrUsage, o.PartSize)
	case o.Concurrency < 0 || o.Concurrency > maxConcurrency:
		return fmt.Errorf("%w: object.Options: Concurrency is %d, which must be between 0 and %d", fault.ErrUsage, o.Concurrency, maxConcurrency)
	}
	return nil
}

// Store is a [storage.Store] over a [Bucket]. Several goroutines may use it, and several
// processes may use the same bucket.
//
// A name is a key without a leading slash. A directory is there while there is an object
// below it; one without any has an object of no bytes whose key ends in a slash. What a
// stage writes has its final name at once, and the directory is complete when it has the
// marker. So stages need a [storage.BeginOptions].Marker. Directories have no ModTime.
type Store struct {
	storage.Base
	bucket   Bucket
	limits   Limits
	o        Options
	invalid  error // of the options; every request fails with it
	gate     *gate
	overlays overlays
	runs     []run // of part numbers
}

// New returns the store over a bucket.
func New(b Bucket, o Options) *Store {
	l := b.Limits()
	invalid := o.validate()
	if invalid != nil {
		o = Options{}
	}
	o = o.withDefaults(l)
	return &Store{bucket: checked{b}, limits: l, o: o, invalid: invalid, gate: newGate(4 * o.Concurrency), runs: newRuns(l, o.PartSize)}
}

// Properties returns the properties of the store.
func (s *Store) Properties() storage.Properties {
	return storage.Properties{
		Marker:      true,
		Edit:        true,
		Links:       storage.LinkCopy,
		ShareMin:    shareMin,
		ReadUnit:    s.o.PartSize,
		ReadGap:     1 << 20,
		WriteUnit:   s.o.PartSize,
		Concurrency: s.o.Concurrency,
	}
}

// keyOf returns the key of a file. The root has the key "".
func keyOf(name string) string {
	return strings.TrimPrefix(path.Clean("/"+name), "/")
}

// below returns the beginning of the keys of everything in a directory.
func below(dir string) string {
	if dir = keyOf(dir); dir != "" {
		dir += "/"
	}
	return dir
}

func missing(op, name string) error { return &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist} }

// Stat describes a file or a directory.
func (s *Store) Stat(ctx context.Context, name string) (storage.Info, error) {
	key := keyOf(name)
	if other, g := s.overlays.other(key); g != nil {
		return s.statOverlay(ctx, key, other, g)
	}
	return s.statKey(ctx, key)
}

func (s *Store) statKey(ctx context.Context, key string) (storage.Info, error) {
	if key == "" {
		return storage.Info{Name: ".", Dir: true}, ctx.Err()
	}
	dir := storage.Info{Name: path.Base(key), Dir: true}
	page, err := s.list(ctx, ListOptions{Prefix: key})
	if err != nil {
		return storage.Info{}, err
	}
	if _, isDir := slices.BinarySearch(page.Prefixes, key+"/"); isDir {
		return dir, nil
	}
	isFile := len(page.Objects) > 0 && page.Objects[0].Key == key
	if page.Next != "" && (len(page.Prefixes) == 0 || page.Prefixes[len(page.Prefixes)-1] < key+"/") {
		// So many other keys begin like this one that the directory may be on a later page.
		later, err := s.list(ctx, ListOptions{Prefix: key + "/", Limit: 1})
		if err != nil {
			return storage.Info{}, err
		}
		if len(later.Objects)+len(later.Prefixes) > 0 {
			return dir, nil
		}
	}
	if isFile {
		return infoOf(page.Objects[0]), nil
	}
	return storage.Info{}, missing("stat", key)
}

// infoOf describes a file.
func infoOf(o Info) storage.Info {
	return storage.Info{Name: path.Base(o.Key), Size: o.Size, ModTime: o.Modified, Version: o.Version}
}

// notExist returns the error of an operation on a file that may be missing.
func notExist(err error, op, name string) error {
	if errors.Is(err, fs.ErrNotExist) {
		return missing(op, name)
	}
	return err
}

// list returns a page of a listing.
func (s *Store) list(ctx context.Context, o ListOptions) (page Page, err error) {
	err = s.try(ctx, func(ctx context.Context) error {
		page, err = s.bucket.List(ctx, o)
		return err
	})
	return page, err
}

// listAll calls f for all pages of a listing.
func (s *Store) listAll(ctx context.Context, o ListOptions, f func(Page) error) error {
	for {
		page, err := s.list(ctx, o)
		if err == nil {
			err = f(page)
		}
		if err != nil || page.Next == "" {
			return err
		}
		o.Token = page.Next
	}
}

// List returns the entries of a directory.
func (s *Store) List(ctx context.Context, dir string) ([]storage.Info, error) {
	key := keyOf(dir)
	if other, g := s.overlays.other(key); g != nil {
		return s.listOverlay(ctx, key, other, g)
	}
	return s.listKey(ctx, key)
}

func (s *Store) listKey(ctx context.Context, dir string) ([]storage.Info, error) {
	prefix := below(dir)
	var infos []storage.Info
	there := prefix == ""
	err := s.listAll(ctx, ListOptions{Prefix: prefix}, func(p Page) error {
		there = there || len(p.Prefixes)+len(p.Objects) > 0
		for _, d := range p.Prefixes {
			if name := strings.TrimSuffix(d[len(prefix):], "/"); name != "" {
				infos = append(infos, storage.Info{Name: name, Dir: true})
			}
		}
		for _, o := range p.Objects {
			if o.Key != prefix {
				infos = append(infos, infoOf(o))
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case !there:
		return nil, missing("list", dir)
	}
	return byName(infos), nil
}

// byName sorts entries. Of a file and a directory with the same name only the directory
// is left.
func byName(infos []storage.Info) []storage.Info {
	slices.SortFunc(infos, func(a, b storage.Info) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 || a.Dir == b.Dir {
			return c
		}
		if a.Dir {
			return -1
		}
		return 1
	})
	return slices.CompactFunc(infos, func(a, b storage.Info) bool { return a.Name == b.Name })
}

// all returns everything below a directory, in the order of the keys.
func (s *Store) all(ctx context.Context, dir string) (objects []Info, now time.Time, err error) {
	err = s.listAll(ctx, ListOptions{Prefix: below(dir), Flat: true}, func(p Page) error {
		objects, now = append(objects, p.Objects...), p.Now
		return nil
	})
	return objects, now, err
}

// remove removes objects.
func (s *Store) remove(ctx context.Context, refs []Ref) error {
	if len(refs) == 0 {
		return nil
	}
	return s.try(ctx, func(ctx context.Context) error { return s.bucket.Delete(ctx, refs) })
}

// Locks returns true: a claim that is not renewed is that of a dead writer.
func (s *Store) Locks(ctx context.Context, dir string) bool { return true }

// changed returns the error for a file that was replaced or removed while it was read.
func changed(name string) error {
	return fmt.Errorf("%w: %s was replaced or removed while it was read", fault.ErrBusy, name)
}
