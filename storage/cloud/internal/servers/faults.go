package servers

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Faults is a bad network in front of a server: a proxy that does to some requests what
// networks and busy services do. Its methods may be called at any time.
type Faults struct {
	// Busy writes the answer of a service that wants fewer requests. Nil is the status 503
	// without more.
	Busy http.HandlerFunc

	addr   string // of the server
	front  *httptest.Server
	rate   atomic.Int64 // of a thousand requests
	mu     sync.Mutex
	counts map[string]int
	client *http.Client
}

// Start starts a proxy in front of the server at addr, which ends with the test. It does no
// harm at first. It returns its own address.
func (f *Faults) Start(t testing.TB, addr string) string {
	t.Helper()
	f.addr, f.counts = addr, map[string]int{}
	f.client = &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	f.front = httptest.NewServer(f)
	t.Cleanup(func() {
		f.front.CloseClientConnections()
		f.front.Close()
		f.client.CloseIdleConnections()
	})
	return strings.TrimPrefix(f.front.URL, "http://")
}

// Set sets how many of a thousand requests have a fault.
func (f *Faults) Set(rate int64) { f.rate.Store(rate) }

// Counts returns how often each fault has happened.
func (f *Faults) Counts() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	counts := map[string]int{}
	for fault, n := range f.counts {
		counts[fault] = n
	}
	return counts
}

// faults are what can happen to a request.
var faults = []string{
	"busy",           // the service wants fewer requests, and does nothing
	"busy storm",     // likewise, and for the next moment too
	"request cut",    // the connection ends before the service has the request
	"answer lost",    // the service has done what it was asked to, and the connection ends
	"answer cut",     // the connection ends within the answer
	"slow",           // the answer comes in small pieces
	"stalled",        // the answer stops for a while, and then the connection ends
	"request damage", // a bit of the body is flipped on the way to the service
	"answer damage",  // a bit of the bytes of an object is flipped on the way back
}

// pick returns the fault of a request, or "".
func (f *Faults) pick() string {
	if rand.Int64N(1000) >= f.rate.Load() {
		return ""
	}
	fault := faults[rand.IntN(len(faults))]
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts[fault]++
	return fault
}

// ServeHTTP passes a request on.
func (f *Faults) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fault := f.pick()
	switch fault {
	case "busy storm":
		was := f.rate.Swap(500)
		time.AfterFunc(200*time.Millisecond, func() { f.rate.CompareAndSwap(500, was) })
		fallthrough
	case "busy":
		io.Copy(io.Discard, r.Body)
		if f.Busy == nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		f.Busy(w, r)
		return
	case "request cut":
		io.CopyN(io.Discard, r.Body, rand.Int64N(max(r.ContentLength, 0)+1))
		panic(http.ErrAbortHandler) // ends the connection
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if fault == "request damage" && len(body) > 0 && !isDocument(r.Header) {
		body[rand.IntN(len(body))] ^= 1 << rand.IntN(8)
	}
	out := r.Clone(r.Context())
	out.RequestURI = ""
	out.URL.Scheme, out.URL.Host = "http", f.addr
	out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	if len(body) == 0 {
		out.Body = http.NoBody // otherwise the length would be unknown
	}
	answer, err := f.client.Do(out)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || fault == "answer lost" {
		panic(http.ErrAbortHandler)
	}
	for name, values := range answer.Header {
		w.Header()[name] = values
	}
	if r.Method != http.MethodHead && answer.StatusCode != http.StatusNoContent && answer.StatusCode != http.StatusNotModified {
		w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	}
	w.WriteHeader(answer.StatusCode)
	switch fault {
	case "answer damage":
		if isData(answer) && len(text) > 0 {
			text[rand.IntN(len(text))] ^= 1 << rand.IntN(8)
		}
	case "answer cut", "stalled":
		w.Write(text[:rand.IntN(len(text)+1)])
		http.NewResponseController(w).Flush()
		if fault == "stalled" {
			time.Sleep(500 * time.Millisecond)
		}
		panic(http.ErrAbortHandler)
	case "slow":
		for rest := text; len(rest) > 0; {
			n := min(len(rest), 1+len(text)/8)
			w.Write(rest[:n])
			http.NewResponseController(w).Flush()
			time.Sleep(5 * time.Millisecond)
			rest = rest[n:]
		}
		return
	}
	w.Write(text)
}

// isData reports whether an answer has the bytes of an object.
func isData(answer *http.Response) bool {
	return answer.StatusCode == http.StatusPartialContent || answer.StatusCode == http.StatusOK && !isDocument(answer.Header)
}

// isDocument reports whether a body is for the service itself, or has parts that are: these
// have no checksums. Their damage this proxy leaves to TLS.
func isDocument(h http.Header) bool {
	kind := h.Get("Content-Type")
	return strings.Contains(kind, "json") || strings.Contains(kind, "xml") || strings.Contains(kind, "multipart")
}
