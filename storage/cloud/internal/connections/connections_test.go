package connections

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/go-orbax/orbax/internal/race"
	"github.com/go-orbax/orbax/storage/cloud/internal/buffers"
)

// clientOf returns a client of a server, and its transport.
func clientOf(t *testing.T, server *httptest.Server) *http.Client {
	transport := &http.Transport{WriteBufferSize: 64 << 10, ForceAttemptHTTP2: true}
	if server.TLS != nil {
		transport.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool()}
		transport.TLSClientConfig.RootCAs.AddCert(server.Certificate())
	}
	Reuse(transport)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// Bodies arrive, and leave little garbage, with and without encryption.
func TestReuse(t *testing.T) {
	for _, start := range []func(http.Handler) *httptest.Server{httptest.NewServer, func(h http.Handler) *httptest.Server {
		s := httptest.NewUnstartedServer(h)
		s.EnableHTTP2 = true
		s.StartTLS()
		return s
	}} {
		const size, most = 1 << 20, 24 << 10
		server := start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, n, " ", err)
		}))
		t.Cleanup(server.Close)
		client := clientOf(t, server)
		body := [][]byte{make([]byte, size/2), make([]byte, size/2)}
		put := func() {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, server.URL, buffers.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			r.ContentLength = size
			answer, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			if text, err := io.ReadAll(answer.Body); string(text) != fmt.Sprint(size, " <nil>") || err != nil || answer.Proto != "HTTP/1.1" {
				t.Fatalf("%s: got %q, %v by %s", server.URL, text, err, answer.Proto)
			}
		}
		put() // opens the connection
		const n = 50
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range n {
			put()
		}
		runtime.ReadMemStats(&after)
		each := int(after.TotalAlloc-before.TotalAlloc) / n
		t.Logf("%s: %d bytes of garbage for a request", server.URL, each)
		if each > most && !race.Enabled { // the race detector throws shared buffers away
			t.Errorf("%s: a request leaves %d bytes of garbage; want at most %d", server.URL, each, most)
		}
	}
}

// The certificate of the server must be known, and be that of its name.
func TestCertificates(t *testing.T) {
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	server.Config.ErrorLog = nil
	transport := &http.Transport{}
	Reuse(transport)
	var unknown x509.UnknownAuthorityError
	if _, err := (&http.Client{Transport: transport}).Get(server.URL); !errors.As(err, &unknown) {
		t.Errorf("an unknown certificate: %v", err)
	}
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	var name x509.HostnameError
	if _, err := clientOf(t, server).Get("https://localhost:" + port); !errors.As(err, &name) {
		t.Errorf("the certificate of another name: %v", err)
	}
}

// A server that does not answer a handshake costs only the time that the transport allows,
// and is not taken for the end of the caller's context.
func TestSilentServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	transport := &http.Transport{TLSHandshakeTimeout: 50 * time.Millisecond}
	Reuse(transport)
	_, err = (&http.Client{Transport: transport}).Get("https://" + l.Addr().String())
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(time.Millisecond, cancel)
	transport = &http.Transport{}
	Reuse(transport)
	r, _ := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+l.Addr().String(), nil)
	if _, err := (&http.Client{Transport: transport}).Do(r); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled context: %v", err)
	}
}
