// Package connections makes HTTP clients send bodies of requests without garbage.
//
// Package net/http allocates a buffer for each body. A save of a large state would leave as
// much garbage as all its requests have buffers, because the next collection comes late.
package connections

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// Reuse makes the connections of a transport share their buffers. They speak HTTP/1.1: with
// HTTP/2 all requests would share the bandwidth of one connection. Reuse comes after all
// other changes of the transport.
func Reuse(t *http.Transport) {
	dial, config, limit := t.DialContext, t.TLSClientConfig.Clone(), t.TLSHandshakeTimeout
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	if config == nil {
		config = new(tls.Config)
	}
	config.NextProtos = []string{"http/1.1"}
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return conn{c}, nil
	}
	t.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		secure, err := secured(ctx, c, config, addr, limit)
		if err != nil {
			c.Close()
			return nil, err
		}
		return conn{secure}, nil
	}
}

// secured returns a connection over c that is encrypted. The handshake may take limit; 0 is
// any time.
func secured(ctx context.Context, c net.Conn, config *tls.Config, addr string, limit time.Duration) (*tls.Conn, error) {
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		config = config.Clone()
		config.ServerName = host
	}
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, errSlow)
		defer cancel()
	}
	secure := tls.Client(c, config)
	err := secure.HandshakeContext(ctx)
	if err != nil && context.Cause(ctx) == errSlow {
		err = errSlow // the context of the caller has not ended
	}
	return secure, err
}

// errSlow is the error of a handshake that has taken too long, as it is in package net/http.
var errSlow error = slowError{}

type slowError struct{}

func (slowError) Error() string   { return "TLS handshake timeout" }
func (slowError) Timeout() bool   { return true }
func (slowError) Temporary() bool { return true }

// conn copies the bodies of requests by shared buffers.
type conn struct{ net.Conn }

// shared are those of the bodies that are being sent.
var shared = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// ReadFrom implements [io.ReaderFrom]: a transport sends bodies by it.
func (c conn) ReadFrom(r io.Reader) (int64, error) {
	b := shared.Get().(*[64 << 10]byte)
	defer shared.Put(b)
	return io.CopyBuffer(struct{ io.Writer }{c.Conn}, r, b[:])
}
