package azure_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-orbax/orbax/storage/object"
)

// slowCopies is a service whose copies are pending at first.
type slowCopies struct {
	mu       sync.Mutex
	pending  int    // how many looks at the target find the copy pending
	result   string // the status after that
	id       string // of the copy in the target
	requests []string
}

func (s *slowCopies) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	what := r.Method
	h := w.Header()
	h.Set("Etag", `"v2"`)
	h.Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
	switch {
	case r.URL.Query().Get("comp") == "copy":
		what = "abort " + r.URL.Query().Get("copyid")
		w.WriteHeader(http.StatusNoContent)
	case r.Header.Get("x-ms-copy-source") != "":
		what = "copy " + r.Header.Get("x-ms-source-if-match") + r.Header.Get("If-None-Match")
		h.Set("x-ms-copy-id", "copy1")
		h.Set("x-ms-copy-status", "pending")
		w.WriteHeader(http.StatusAccepted)
	case r.Method == http.MethodHead:
		h.Set("x-ms-copy-id", s.id)
		h.Set("Content-Length", "42")
		h.Set("x-ms-meta-orbaxwriter", "w1")
		if s.pending--; s.pending >= 0 {
			h.Set("x-ms-copy-status", "pending")
		} else {
			h.Set("x-ms-copy-status", s.result)
			h.Set("x-ms-copy-status-description", "because")
		}
	case r.Method == http.MethodDelete:
		what += " " + r.Header.Get("If-Match")
		w.WriteHeader(http.StatusAccepted)
	}
	s.requests = append(s.requests, what)
}

// start starts the service and returns its bucket.
func (s *slowCopies) start(t *testing.T) object.Bucket {
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return bare(t, server.URL+"/orbaxtest/box", nil)
}

// A copy that takes longer than its request is waited for.
func TestSlowCopy(t *testing.T) {
	from := object.Ref{Key: "from", Version: "v1"}
	for result, want := range map[string]error{"success": nil, "failed": errors.New("the copy is failed: because"), "aborted": errors.New("the copy is aborted: because")} {
		s := &slowCopies{pending: 2, result: result, id: "copy1"}
		info, err := s.start(t).Copy(t.Context(), from, "to", object.PutOptions{IfAbsent: true})
		requests := `[copy "v1"* HEAD HEAD HEAD]`
		if want != nil { // the target, which is empty, is removed
			requests = `[copy "v1"* HEAD HEAD HEAD DELETE "v2"]`
		}
		if fmt.Sprint(s.requests) != requests {
			t.Errorf("%s: the requests were %q, want %s", result, s.requests, requests)
		}
		if want == nil {
			if err != nil || info.Version != "v2" || info.Size != 42 || info.Writer != "w1" || info.Key != "to" {
				t.Errorf("got %+v, %v", info, err)
			}
			continue
		}
		var e *object.Error
		if !errors.As(err, &e) || !e.Temporary || !strings.Contains(err.Error(), want.Error()) {
			t.Errorf("%s: got %v, want %v", result, err, want)
		}
	}

	s := &slowCopies{pending: 1, id: "copy2"} // another one has copied to the same key
	if _, err := s.start(t).Copy(t.Context(), from, "to", object.PutOptions{}); !errors.Is(err, object.ErrPrecondition) {
		t.Errorf("got %v, want %v", err, object.ErrPrecondition)
	}
}

// A copy that is cancelled is ended, and its empty target is removed.
func TestCancelledCopy(t *testing.T) {
	s := &slowCopies{pending: 1000, id: "copy1"}
	b := s.start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := b.Copy(ctx, object.Ref{Key: "from"}, "to", object.PutOptions{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.requests); n < 4 || !slices.Equal(s.requests[n-3:], []string{"abort copy1", "HEAD", `DELETE "v2"`}) {
		t.Errorf("the requests were %q", s.requests)
	}
}
