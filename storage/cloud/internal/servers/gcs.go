package servers

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// GCS is fake-gcs-server, a server of the API of Google Cloud Storage, in memory. In front
// of it is a handler of this package for what the server lacks. It has no bucket at first.
var GCS = &GCSServer{behind: Server{
	Command: func(t testing.TB, addr, data string) *exec.Cmd {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(fakeGCS.Program(t, "fake-gcs-server"), "-host", host, "-port", port, "-scheme", "http",
			"-backend", "memory", "-public-host", fakeHost, "-external-url", "http://"+fakeHost, "-log-level", "error")
		cmd.Dir = data
		return cmd
	},
	Ready: func(ctx context.Context, addr string) error {
		return answers(ctx, "http://"+addr+"/_internal/healthcheck", "")
	},
}}

var fakeGCS = GoTool("fake-gcs-server", "github.com/fsouza/fake-gcs-server", "v1.56.1")

// fakeHost is the host in the requests to fake-gcs-server, by which it recognises those of
// the XML interface.
const fakeHost = "storage.fake"

// GCSServer is [GCS].
type GCSServer struct {
	behind Server
	mu     sync.Mutex
	shared map[string]*httptest.Server // the handlers in front, by the address behind
}

// Shared is like [Server.Shared].
func (s *GCSServer) Shared(t testing.TB) (addr string) {
	t.Helper()
	behind := s.behind.Shared(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	front := s.shared[behind]
	if front == nil {
		front = httptest.NewServer(newGCSHandler(behind))
		s.shared = map[string]*httptest.Server{behind: front}
	}
	return strings.TrimPrefix(front.URL, "http://")
}

// Start is like [Server.Start].
func (s *GCSServer) Start(t testing.TB) (addr string) {
	t.Helper()
	front := httptest.NewServer(newGCSHandler(s.behind.Start(t)))
	t.Cleanup(front.Close)
	return strings.TrimPrefix(front.URL, "http://")
}

// MakeGCSBucket makes a bucket in the server at addr.
func MakeGCSBucket(t testing.TB, addr, bucket string) {
	t.Helper()
	answer, err := http.Post("http://"+addr+"/storage/v1/b?project=test", "application/json", strings.NewReader(`{"name":"`+bucket+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("the bucket %s cannot be made: %s", bucket, answer.Status)
	}
}
