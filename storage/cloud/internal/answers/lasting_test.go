package answers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"testing"
)

// notFound is the error of a name that no server of names knows.
func notFound(name string) error {
	return &url.Error{Op: "Get", URL: "https://x", Err: &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}}}
}

// What passes is not taken for what lasts. The name of a host that was there before passes.
func TestLasting(t *testing.T) {
	for _, err := range []error{
		io.EOF, io.ErrUnexpectedEOF, syscall.ECONNREFUSED, context.DeadlineExceeded, errors.New("connection reset by peer"),
		&net.DNSError{Err: "server misbehaving", Name: "x", IsTemporary: true}, &net.DNSError{Err: "i/o timeout", Name: "x", IsTimeout: true},
		errors.New("remote error: tls: bad record MAC"), errors.New("local error: tls: bad record MAC"),
	} {
		if text := Lasting(err); text != "" {
			t.Errorf("%v lasts: %s", err, text)
		}
	}
	for _, err := range []error{
		fmt.Errorf("send: %w", http.ErrSchemeMismatch), errors.New(`unsupported protocol scheme "ftp"`), errors.New("remote error: tls: handshake failure"),
		errors.New("oauth2: cannot fetch token: Post: tls: failed to verify certificate: x509: …"), notFound("misspelt.example"),
	} {
		if Lasting(err) == "" {
			t.Errorf("%v does not last", err)
		}
	}
	fails := true
	dial := Noting(func(context.Context, string, string) (net.Conn, error) {
		if fails {
			return nil, notFound("there.example")
		}
		return nil, nil
	})
	for _, fails = range []bool{true, false, true} {
		_, err := dial(t.Context(), "tcp", "There.example:443")
		if text := Lasting(notFound("there.example")); (text != "") != (fails && err != nil && !wasThere("there.example")) {
			t.Errorf("the dial has failed: %v; then a lookup lasts: %q", err, text)
		}
	}
	if !wasThere("there.example.") {
		t.Error("the host was there")
	}
}
