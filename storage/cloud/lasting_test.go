package cloud_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/go-orbax/orbax/storage/cloud/internal/buffers"
	"github.com/go-orbax/orbax/storage/object"
)

// counting is a bucket that counts the requests that the store makes.
type counting struct {
	object.Bucket
	n atomic.Int64
}

func (c *counting) Get(ctx context.Context, key, version string, p [][]byte, off int64) (int, object.Info, error) {
	c.n.Add(1)
	return c.Bucket.Get(ctx, key, version, p, off)
}

func (c *counting) Stat(ctx context.Context, key string) (object.Info, error) {
	c.n.Add(1)
	return c.Bucket.Stat(ctx, key)
}

func (c *counting) List(ctx context.Context, o object.ListOptions) (object.Page, error) {
	c.n.Add(1)
	return c.Bucket.List(ctx, o)
}

func (c *counting) Put(ctx context.Context, key string, body [][]byte, o object.PutOptions) (object.Info, error) {
	c.n.Add(1)
	return c.Bucket.Put(ctx, key, body, o)
}

// What no further attempt can mend is an error at once, whatever the Patience.
func TestLastingErrors(t *testing.T) {
	quiet := log.New(io.Discard, "", 0) // failed handshakes
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = quiet
	secure.StartTLS()
	t.Cleanup(secure.Close)
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	addrOf := func(s *httptest.Server) string { _, addr, _ := strings.Cut(s.URL, "://"); return addr }
	for _, c := range clouds {
		for what, w := range map[string]struct {
			address string
			says    string
			host    *net.DNSError // of a lookup
		}{
			"an unknown authority": {address: "https://" + addrOf(secure), says: "the certificate of the service is not trusted"},
			"no TLS":               {address: "https://" + addrOf(plain), says: "the service does not speak TLS"},
			"an unknown host":      {address: "http://misspelt.invalid", says: "misspelt", host: &net.DNSError{Err: "no such host", Name: "misspelt.invalid", IsNotFound: true}},
		} {
			t.Run(c.name+"/"+what, func(t *testing.T) {
				transport := &http.Transport{}
				if w.host != nil {
					transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
						return nil, &net.OpError{Op: "dial", Net: "tcp", Err: w.host}
					}
				}
				t.Cleanup(transport.CloseIdleConnections)
				counted := &counting{Bucket: c.at(t, w.address, &http.Client{Transport: transport})}
				store := object.New(counted, object.Options{Patience: time.Hour})
				_, lerr := store.List(t.Context(), "run")
				_, oerr := store.Open(t.Context(), "run/file")
				for _, err := range []error{lerr, oerr} {
					var e *object.Error
					if !errors.As(err, &e) || e.Temporary || !strings.Contains(err.Error(), w.says) || !strings.Contains(err.Error(), "check ") && !strings.Contains(err.Error(), "AWS_CA_BUNDLE") {
						t.Errorf("got %v", err)
					}
				}
				if n := counted.n.Load(); n != 2 {
					t.Errorf("%d requests were made, want 2", n)
				}
			})
		}
	}
}

// What is no object store at all does not look like an empty one, and is an error at once.
func TestNoObjectStore(t *testing.T) {
	quiet := log.New(io.Discard, "", 0)
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = quiet
	secure.StartTLS()
	t.Cleanup(secure.Close)
	answering := func(status int, kind, text string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			io.WriteString(w, text)
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	const page = "<!doctype html><html><body>welcome</body></html>"
	for what, address := range map[string]string{
		"a web page":         answering(200, "text/html", page),
		"a web page as 404":  answering(404, "text/html", page),
		"another JSON":       answering(200, "application/json", `{"service":"other"}`),
		"another XML":        answering(200, "application/xml", "<?xml version='1.0'?><Other><Name2>x</Name2></Other>"),
		"TLS, without https": "http://" + strings.TrimPrefix(secure.URL, "https://"),
	} {
		for _, c := range clouds {
			if what == "another JSON" && c.name != "gcs" || what == "another XML" && c.name == "gcs" {
				continue // they cannot be read at all
			}
			t.Run(c.name+"/"+what, func(t *testing.T) {
				store := object.New(c.at(t, address, &http.Client{}), object.Options{Patience: time.Hour})
				for _, dir := range []string{"run", "."} {
					_, err := store.List(t.Context(), dir)
					var e *object.Error
					if !errors.As(err, &e) || e.Temporary || errors.Is(err, fs.ErrNotExist) || e.Message == "" {
						t.Errorf("the list of %s: got %v", dir, err)
					}
				}
			})
		}
	}
}

// slowly is a network on which every answer comes too slowly.
type slowly struct{}

func (slowly) RoundTrip(r *http.Request) (*http.Response, error) {
	header := http.Header{"Content-Range": {"bytes 0-99/100"}, "Etag": {`"v1"`}, "X-Goog-Generation": {"1"}}
	body := io.MultiReader(strings.NewReader("0123456789"), iotest.ErrReader(&buffers.SlowError{Bytes: 10, Time: 20 * time.Second}))
	return &http.Response{StatusCode: http.StatusPartialContent, Header: header, Body: io.NopCloser(body), ContentLength: 100, Request: r}, nil
}

// A read that is given up because it is slow may be tried again, from where it was.
func TestSlowAnswers(t *testing.T) {
	for _, c := range clouds {
		b := c.at(t, "http://127.0.0.1:1", &http.Client{Transport: slowly{}})
		p := make([]byte, 100)
		n, info, err := b.Get(t.Context(), "key", "", [][]byte{p}, 0)
		var e *object.Error
		if !errors.As(err, &e) || !e.Temporary || e.Throttled || n != 10 || string(p[:n]) != "0123456789" || info.Version == "" || !strings.Contains(err.Error(), "less than 1024 a second") {
			t.Errorf("%s: got %d bytes of %+v, %v", c.name, n, info, err)
		}
	}
}
