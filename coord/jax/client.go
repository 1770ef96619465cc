package jax

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/go-orbax/orbax/coord"
)

// Client is a connection to the coordination service of a JAX job. It reads and writes
// keys and can do nothing else: it is not a process of the job, and the service does not
// survive some of the calls that only the processes of the job may make. Several goroutines
// may use a Client.
type Client struct {
	address     string
	conn        *grpc.ClientConn
	incarnation uint64 // of the service
}

// Dial connects to the coordination service at an address, a host and a port: the
// coordinator_address of jax.distributed.initialize. It waits until the service answers
// or ctx ends, so a program may start before the job. If the service is of another release
// of jaxlib, the error is a [*DialectError].
//
// The service asks for no credentials, and the connection is not encrypted: whoever
// reaches the address can change the keys of the job.
func Dial(ctx context.Context, address string) (*Client, error) {
	conn, err := grpc.NewClient(address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second}, MinConnectTimeout: 5 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(codec{}), grpc.WaitForReady(true), grpc.MaxCallRecvMsgSize(math.MaxInt32), grpc.MaxCallSendMsgSize(math.MaxInt32)),
		grpc.WithUnaryInterceptor(onlyKeys),
		grpc.WithStreamInterceptor(noStreams),
		grpc.WithDisableServiceConfig(),
		grpc.WithNoProxy(), // the job is on this network
	)
	if err != nil {
		return nil, fmt.Errorf("jax: %w", err)
	}
	c := &Client{address: address, conn: conn}
	if c.incarnation, err = c.askIncarnation(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return c, nil
}

// Close closes the connection. Groups over it must be closed before.
func (c *Client) Close() error { return c.conn.Close() }

// errForbidden reports a call that would do harm.
var errForbidden = errors.New("jax: a process that is not one of the JAX job may only read and write keys")

// onlyKeys refuses every call that is not about keys, whoever makes it: Barrier by a
// process that is not one of the job crashes the service and with it the job, and
// RegisterTask makes the job wait for this process and die with it.
func onlyKeys(ctx context.Context, name string, in, out any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	if !slices.ContainsFunc(methods, func(m method) bool { return m.path() == name }) {
		return fmt.Errorf("%w, not %s", errForbidden, name)
	}
	return invoke(ctx, name, in, out, conn, options...)
}

func noStreams(context.Context, *grpc.StreamDesc, *grpc.ClientConn, string, grpc.Streamer, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errForbidden
}

// ErrGone matches the errors about a job whose coordination service has ended, or does not
// answer any more.
var ErrGone = errors.New("the JAX job has ended or died")

// DialectError reports a coordination service whose protocol this package does not know.
// The protocol is internal to JAX and changes; this package has that of jaxlib 0.10.
type DialectError struct {
	Address string
	Speaks  string // the protocol, or how the service has answered
}

func (e *DialectError) Error() string {
	return fmt.Sprintf("jax: the coordination service at %s speaks %s; this package speaks the protocol of jaxlib 0.10", e.Address, e.Speaks)
}

// askIncarnation returns the incarnation of the service, which every request must have.
// The service names it when it refuses a request with another one.
func (c *Client) askIncarnation(ctx context.Context) (uint64, error) {
	for {
		_, err := c.invoke(ctx, tryGet, keyField("orbax-go"))
		if incarnation, ok := refusedBy(err); ok {
			return incarnation, nil
		}
		code, text := statusOf(err)
		switch {
		case ctx.Err() != nil:
			return 0, fmt.Errorf("jax: connect to the coordination service at %s: %w", c.address, c.because(ctx, err))
		case code == codes.Unavailable: // it is starting, or the connection broke
			if err := pause(ctx, retryPause); err != nil {
				return 0, fmt.Errorf("jax: connect to the coordination service at %s: %w", c.address, err)
			}
		case code == codes.Unimplemented:
			return 0, &DialectError{c.address, "another protocol than xla.coordination.CoordinationService, as jaxlib before 0.10 does"}
		case err == nil, code == codes.NotFound:
			return 0, &DialectError{c.address, "a protocol without incarnations"}
		default:
			return 0, &DialectError{c.address, fmt.Sprintf("an unknown protocol (%v: %s)", code, text)}
		}
	}
}

// retryPause is the time between tries of a request when the connection has broken.
const retryPause = 50 * time.Millisecond

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ended(ctx)
	}
}

// ended returns the reason why a context has ended.
func ended(ctx context.Context) error {
	cause := context.Cause(ctx)
	if cause == ctx.Err() {
		return cause
	}
	return fmt.Errorf("%w (%w)", cause, ctx.Err())
}

// invoke makes one call.
func (c *Client) invoke(ctx context.Context, m method, fields []byte) (out []byte, err error) {
	in := append(header(c.incarnation), fields...)
	err = c.conn.Invoke(ctx, m.path(), &in, &out)
	return out, err
}

// call makes a call, again if the connection breaks. The service may have done it then
// without an answer.
func (c *Client) call(ctx context.Context, m method, fields []byte) ([]byte, error) {
	for {
		if ctx.Err() != nil {
			return nil, ended(ctx)
		}
		out, err := c.invoke(ctx, m, fields)
		if err == nil {
			return out, nil
		}
		if code, _ := statusOf(err); code != codes.Unavailable || ctx.Err() != nil {
			return nil, c.because(ctx, err)
		}
		if err := pause(ctx, retryPause); err != nil {
			return nil, err
		}
	}
}

// because returns the reason of an error of a call.
func (c *Client) because(ctx context.Context, err error) error {
	code, text := statusOf(err)
	if code == codes.DeadlineExceeded { // the service may see the deadline a moment before the context ends
		if _, ok := ctx.Deadline(); ok {
			<-ctx.Done()
		}
	}
	if ctx.Err() != nil {
		return ended(ctx)
	}
	if _, other := refusedBy(err); other {
		return fmt.Errorf("%w: there is another coordination service at %s", ErrGone, c.address)
	}
	switch code {
	case codes.NotFound:
		return fs.ErrNotExist
	case codes.AlreadyExists:
		return fs.ErrExist
	case codes.Canceled, codes.Aborted: // of requests that wait while the service ends
		return fmt.Errorf("%w: the coordination service at %s: %s", ErrGone, c.address, text)
	}
	return fmt.Errorf("the coordination service at %s: %v: %s", c.address, code, text)
}

// set gives a key a value, whether it has one or not.
func (c *Client) set(ctx context.Context, key string, value []byte) error {
	_, err := c.call(ctx, insert, entryField(key, value, true))
	return err
}

// add gives a key its first value. If it has another one, the error matches fs.ErrExist.
func (c *Client) add(ctx context.Context, key, value string) error {
	_, err := c.call(ctx, insert, entryField(key, []byte(value), false))
	if errors.Is(err, fs.ErrExist) { // by a try before the connection broke, perhaps
		if there, gerr := c.get(ctx, key); gerr == nil && string(there) == value {
			return nil
		}
	}
	return err
}

// get returns the value of a key. Without one the error matches fs.ErrNotExist.
func (c *Client) get(ctx context.Context, key string) ([]byte, error) {
	return c.value(c.call(ctx, tryGet, keyField(key)))
}

// wait returns the value of a key once it has one.
func (c *Client) wait(ctx context.Context, key string) ([]byte, error) {
	return c.value(c.call(ctx, get, keyField(key)))
}

func (c *Client) value(out []byte, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	entries, err := entriesOf(out, 1)
	if err == nil && len(entries) != 1 {
		err = fmt.Errorf("it has sent %d values", len(entries))
	}
	if err != nil {
		return nil, fmt.Errorf("the coordination service at %s: %w", c.address, err)
	}
	return entries[0].Value, nil
}

// list returns the keys that begin with dir, which ends with a slash, in their order.
func (c *Client) list(ctx context.Context, dir string) ([]coord.Entry, error) {
	out, err := c.call(ctx, getDir, keyField(dir))
	if err != nil {
		return nil, err
	}
	entries, err := entriesOf(out, 2)
	if err != nil {
		return nil, fmt.Errorf("the coordination service at %s: %w", c.address, err)
	}
	slices.SortFunc(entries, byKey)
	return entries, nil
}

// remove removes a key and all keys of the directory of that name.
func (c *Client) remove(ctx context.Context, key string) error {
	_, err := c.call(ctx, remove, removal(key))
	return err
}
