package object

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// ErrPrecondition is the error of a request whose precondition does not hold: the object
// exists, is missing, or has another version.
var ErrPrecondition = errors.New("the object was changed by another writer")

// Error is an error of a request to a service. Drivers return it for everything that
// the service answers, and for broken connections.
type Error struct {
	Op     string // "get", "put", "list" …
	Key    string
	Status int    // of HTTP; 0 if there was no answer
	Code   string // of the service, such as SlowDown
	// Message is the text of the service. It must not have credentials.
	Message string
	// Temporary says that the same request may succeed later.
	Temporary bool
	// Throttled says that the service wants fewer requests; such an error is Temporary.
	Throttled bool
	// After is how long the service wants the caller to wait; 0 if it does not say.
	After time.Duration
	// Err is what the error wraps: [ErrPrecondition], io/fs.ErrNotExist, a class of package
	// orbax, or what broke the connection; nil if none of these fits.
	Err error
}

func (e *Error) Error() string {
	s := e.Op
	if e.Key != "" {
		s += " " + e.Key
	}
	switch {
	case e.Code != "" && e.Status != 0:
		s += fmt.Sprintf(": the service answers %d %s", e.Status, e.Code)
	case e.Status != 0:
		s += fmt.Sprintf(": the service answers %d", e.Status)
	}
	if e.Message != "" {
		s += ": " + e.Message
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// isTemporary reports whether the request that failed with err may succeed later.
func isTemporary(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Temporary
}

// checked is a bucket in which a missing bucket does not look like a missing object. Listings
// and writes without a version fit any key, whether there is an object or not: if one of
// them finds that something is missing, that is the bucket. Its error does not match
// io/fs.ErrNotExist, which would say that a checkpoint does not exist, or that a run has no
// steps.
type checked struct{ Bucket }

func (c checked) List(ctx context.Context, o ListOptions) (Page, error) {
	page, err := c.Bucket.List(ctx, o)
	return page, noBucket(err)
}

func (c checked) Put(ctx context.Context, key string, body [][]byte, o PutOptions) (Info, error) {
	info, err := c.Bucket.Put(ctx, key, body, o)
	if o.IfVersion == "" {
		err = noBucket(err)
	}
	return info, err
}

func (c checked) Upload(ctx context.Context, key string, size int64, o PutOptions) (Upload, error) {
	u, err := c.Bucket.Upload(ctx, key, size, o)
	return u, noBucket(err)
}

// noBucket returns the error of a request that misses nothing but the bucket.
func noBucket(err error) error {
	var e *Error
	if !errors.Is(err, fs.ErrNotExist) || !errors.As(err, &e) {
		return err
	}
	missing := *e
	missing.Err = nil
	missing.Message = cmp.Or(missing.Message, "the bucket does not exist; make it, or correct its name")
	return &missing
}
