package answers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
)

// Lasting returns what is wrong with the way to a service if a request has got no answer
// because of that, and no further attempt will get one: another address, other certificates
// or other credentials are the cure. It returns "" for what may pass.
func Lasting(err error) string {
	var certificate *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var record tls.RecordHeaderError
	var name *net.DNSError
	text := err.Error() // of errors that packages of tokens do not wrap
	switch {
	case errors.As(err, &certificate), errors.As(err, &authority), strings.Contains(text, "failed to verify certificate"):
		return "the certificate of the service is not trusted"
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &record):
		return "the service does not speak TLS"
	case strings.Contains(text, "unsupported protocol scheme"):
		return "the address of the service has no scheme that is known; it begins with https:// or http://"
	case errors.As(err, &name) && name.IsNotFound && !wasThere(name.Name):
		return fmt.Sprintf("there is no host %s", name.Name)
	}
	for _, alert := range alerts {
		if strings.Contains(text, "remote error: tls: "+alert) {
			return "the service accepts no connection with these certificates or this version of TLS"
		}
	}
	return ""
}

// alerts are what a service says that will say so again.
var alerts = []string{"handshake failure", "protocol version not supported", "unrecognized name", "certificate required", "bad certificate", "unknown certificate authority", "access denied"}

// hosts are the names of hosts to which there was a connection. That such a name is not known
// for a while is a fault of the network, and not of who has written the name.
var hosts sync.Map

func wasThere(host string) bool {
	_, was := hosts.Load(strings.TrimSuffix(strings.ToLower(host), "."))
	return was
}

// Dial is a function that connects to an address, as [http.Transport] has it.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Noting returns dial, and makes it note which hosts it has reached, for [Lasting].
func Noting(dial Dial) Dial {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if host, _, serr := net.SplitHostPort(address); err == nil && serr == nil {
			hosts.Store(strings.TrimSuffix(strings.ToLower(host), "."), true)
		}
		return conn, err
	}
}
