package gcs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/go-orbax/orbax/storage/cloud/gcs"
	"github.com/go-orbax/orbax/storage/cloud/internal/servers"
	"github.com/go-orbax/orbax/storage/object"
)

// counter counts requests.
type counter struct {
	mu    sync.Mutex
	paths []string
}

func (c *counter) RoundTrip(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	c.paths = append(c.paths, r.Method+" "+r.URL.RequestURI())
	c.mu.Unlock()
	return http.DefaultTransport.RoundTrip(r)
}

// of returns how many requests have a text in their path.
func (c *counter) of(text string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.paths {
		if strings.Contains(p, text) {
			n++
		}
	}
	return n
}

// loser loses the answer to one request, after the service has done what it asks for.
type loser struct{ text string }

// next chooses the request: one with the text in its path, or any for "?".
func (l *loser) next(text string) { l.text = text }

func (l *loser) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && l.text != "" && (strings.Contains(r.URL.Path, l.text) || l.text == "?" && r.Method == http.MethodDelete) {
		l.text = ""
		answer.Body.Close()
		return nil, errors.New("connection reset by peer")
	}
	return answer, err
}

// Each call is as few requests as the service allows.
func TestRequests(t *testing.T) {
	count := &counter{}
	b := newBucket(t, &http.Client{Transport: count})
	ctx := t.Context()
	info, err := b.Put(ctx, "dir/key", [][]byte{random(3 << 20)}, object.PutOptions{Writer: "w"})
	if err != nil {
		t.Fatal(err)
	}
	var many []object.Ref
	for i := range 250 {
		many = append(many, object.Ref{Key: strings.Repeat("x", i+1)})
	}
	for _, c := range []struct {
		name string
		want int
		do   func() error
	}{
		{"Get", 1, func() error {
			_, _, err := b.Get(ctx, "dir/key", info.Version, [][]byte{make([]byte, 100)}, 5)
			return err
		}},
		{"Get at the end", 2, func() error {
			_, _, err := b.Get(ctx, "dir/key", "", [][]byte{make([]byte, 100)}, info.Size)
			return err
		}},
		{"Stat", 1, func() error { _, err := b.Stat(ctx, "dir/key"); return err }},
		{"List", 1, func() error { _, err := b.List(ctx, object.ListOptions{}); return err }},
		{"Copy", 2, func() error { // a large one, in two steps
			_, err := b.Copy(ctx, object.Ref{Key: "dir/key", Version: info.Version}, "copy", object.PutOptions{IfAbsent: true})
			return err
		}},
		{"Delete one", 1, func() error { return b.Delete(ctx, many[:1]) }},
		{"Delete 250", 3, func() error { return b.Delete(ctx, many) }},
		{"Delete none", 0, func() error { return b.Delete(ctx, nil) }},
	} {
		before := count.of("")
		if err := c.do(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if n := count.of("") - before; n != c.want {
			t.Errorf("%s is %d requests, want %d: %q", c.name, n, c.want, count.paths[before:])
		}
	}
}

// flipper changes a byte of what is read.
type flipper struct{ at int }

func (f flipper) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && r.Header.Get("Range") != "" {
		text, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if f.at < len(text) {
			text[f.at] ^= 1
		}
		answer.Body = io.NopCloser(bytes.NewReader(text))
	}
	return answer, err
}

// An object that is read as a whole is compared with its checksum.
func TestDamagedRead(t *testing.T) {
	b := newBucket(t, &http.Client{Transport: flipper{3}})
	if _, err := b.Put(t.Context(), "key", [][]byte{[]byte("0123456789")}, object.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	n, _, err := b.Get(t.Context(), "key", "", [][]byte{make([]byte, 20)}, 0)
	var e *object.Error
	if !errors.As(err, &e) || !e.Temporary || n != 0 || !strings.Contains(err.Error(), "CRC32C") {
		t.Errorf("Get returned %d bytes and the error %v", n, err)
	}
}

// keeper keeps the bodies of requests and answers none.
type keeper struct{ bodies []io.Reader }

func (k *keeper) RoundTrip(r *http.Request) (*http.Response, error) {
	k.bodies = append(k.bodies, r.Body)
	return nil, errors.New("no answer")
}

// Once a call has returned, nothing reads the buffers of its caller any more, though a
// transport may go on for a while.
func TestBuffersAreReturned(t *testing.T) {
	k := &keeper{}
	b, err := gcs.New(&http.Client{Transport: k}, "bucket", gcs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Put(t.Context(), "key", [][]byte{[]byte("0123456789")}, object.PutOptions{}); err == nil {
		t.Fatal("Put without an answer got no error")
	}
	for _, body := range k.bodies {
		if text, err := io.ReadAll(body); err == nil || len(text) > 0 {
			t.Errorf("after Put, its body gives %d bytes and the error %v", len(text), err)
		}
	}
}

// A service that ignores ranges and preconditions does not lead to wrong bytes.
func TestNoRange(t *testing.T) {
	b := answering(t, true, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Goog-Generation", "5")
		io.WriteString(w, "0123456789")
	})
	p := make([]byte, 4)
	if n, info, err := b.Get(t.Context(), "key", "", [][]byte{p}, 0); err != nil || string(p[:n]) != "0123" || info.Size != 10 {
		t.Errorf("Get from the beginning: %q, %+v, %v", p[:n], info, err)
	}
	if n, _, err := b.Get(t.Context(), "key", "", [][]byte{p}, 4); err == nil || n != 0 {
		t.Errorf("Get from byte 4: %d bytes and the error %v, want an error", n, err)
	}
	for _, header := range []http.Header{nil, {"X-Goog-Generation": {"6"}, "Content-Range": {"bytes 0-3/10"}}, {"X-Goog-Generation": {"6"}, "Content-Range": {"bytes x"}}} {
		b := answering(t, true, func(w http.ResponseWriter, r *http.Request) {
			for k, v := range header {
				w.Header()[k] = v
			}
			w.WriteHeader(http.StatusPartialContent)
			io.WriteString(w, "0123")
		})
		if n, _, err := b.Get(context.Background(), "key", "", [][]byte{p}, 4); err == nil || n != 0 {
			t.Errorf("Get with the answer %v: %d bytes and the error %v, want an error", header, n, err)
		}
	}
}

// No object that is written is cached, however it is made: readers of a public bucket would
// get an old one.
func TestNotCached(t *testing.T) {
	addr := servers.GCS.Shared(t)
	b := newBucket(t, nil)
	bucket := fmt.Sprintf("test-%d", made.Load())
	if _, err := b.Put(t.Context(), "put", [][]byte{{1}}, object.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	for to, o := range map[string]object.PutOptions{"copy": {}, "copy-writer": {Writer: "w"}} {
		if _, err := b.Copy(t.Context(), object.Ref{Key: "put"}, to, o); err != nil {
			t.Fatal(err)
		}
	}
	u, err := b.Upload(t.Context(), "upload", 1, object.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Part(t.Context(), 1, 0, [][]byte{{1}}); err != nil {
		t.Fatal(err)
	}
	if _, err := u.Complete(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, key := range keys(t, b) {
		answer, err := http.Get("http://" + addr + "/" + bucket + "/" + key)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if got := answer.Header.Get("Cache-Control"); got != "no-store" {
			t.Errorf("%s has the Cache-Control %q", key, got)
		}
	}
}
