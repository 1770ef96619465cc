package servers

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// gcsHandler passes requests to fake-gcs-server, and does as Google Cloud Storage does where
// that server does not:
//
//   - the preconditions of reads, deletions, copies and compositions, also in a batch;
//   - a bucket that does not exist is 404, and is not made;
//   - a composition over an existing object is a new object, with a new time;
//   - listings have pages, also of prefixes;
//   - answers have only the fields that the request asks for;
//   - a large copy takes several requests;
//   - errors of the XML interface are XML.
type gcsHandler struct {
	behind string // http://host:port
	proxy  *httputil.ReverseProxy

	mu      sync.Mutex
	locks   map[string]*sync.Mutex // of objects that are being written
	buckets map[string]bool        // that exist
	copies  map[string]bool        // the tokens of copies that go on
	next    int
}

// largeCopy is the size of an object whose copy takes two requests. That of the real
// service has no fixed size.
const largeCopy = 1 << 20

func newGCSHandler(behind string) *gcsHandler {
	h := &gcsHandler{behind: "http://" + behind, locks: map[string]*sync.Mutex{}, buckets: map[string]bool{}, copies: map[string]bool{}}
	target := &url.URL{Scheme: "http", Host: behind}
	h.proxy = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = fakeHost
			r.Out.Header.Set(frontHost, r.In.Host)
		},
		Transport:      &http.Transport{MaxIdleConnsPerHost: 64},
		ModifyResponse: modify,
		ErrorLog:       log.New(io.Discard, "", 0), // of requests that the client has ended
	}
	return h
}

// frontHost is the header with the host in the request of the client.
const frontHost = "X-Front-Host"

// gcsObject is the name of an object.
type gcsObject struct{ bucket, key string }

// gcsCall is a request as the handler understands it.
type gcsCall struct {
	kind   string // "", read, xml, delete, compose, copy, insert, list, batch
	object gcsObject
	from   gcsObject // of a copy
}

func (h *gcsHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := understood(r)
	r = r.WithContext(context.WithValue(r.Context(), kindKey{}, c.kind))
	if c.kind == "batch" {
		h.batch(w, r)
		return
	}
	if c.object.bucket != "" && !h.hasBucket(r.Context(), c.object.bucket) {
		refuse(w, r, c, http.StatusNotFound, "The specified bucket does not exist.", "NoSuchBucket")
		return
	}
	switch c.kind {
	case "read", "xml":
		h.read(w, r, c)
	case "delete":
		defer h.lock(c.object)()
		if h.holds(w, r, c, c.object, r.URL.Query(), "ifGenerationMatch", "ifGenerationNotMatch") {
			h.proxy.ServeHTTP(w, r)
		}
	case "insert":
		defer h.lock(c.object)()
		h.proxy.ServeHTTP(w, r)
	case "compose":
		h.compose(w, r, c)
	case "copy":
		h.copy(w, r, c)
	case "list":
		h.list(w, r, c)
	default:
		h.proxy.ServeHTTP(w, r)
	}
}

// understood returns what a request wants.
func understood(r *http.Request) gcsCall {
	segments := strings.Split(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	for i := range segments {
		segments[i], _ = url.PathUnescape(segments[i])
	}
	at := func(i int) string {
		if i < len(segments) {
			return segments[i]
		}
		return ""
	}
	rest := func(i int) string { return strings.Join(segments[min(i, len(segments)):], "/") }
	switch {
	case at(0) == "batch":
		return gcsCall{kind: "batch"}
	case at(0) == "upload":
		c := gcsCall{kind: "insert", object: gcsObject{at(4), r.URL.Query().Get("name")}}
		if at(4) == "" { // a chunk of a resumable upload
			return gcsCall{}
		}
		if c.object.key == "" {
			c.object.key = nameIn(r)
		}
		return c
	case at(0) == "download" && at(5) == "o":
		return gcsCall{kind: "read", object: gcsObject{at(4), rest(6)}}
	case at(0) == "storage" && at(2) == "b" && at(4) == "o":
		object := gcsObject{at(3), at(5)}
		switch {
		case len(segments) == 5 || len(segments) == 6 && at(5) == "":
			return gcsCall{kind: "list", object: gcsObject{at(3), ""}}
		case r.Method == http.MethodPost && at(6) == "compose":
			return gcsCall{kind: "compose", object: object}
		case r.Method == http.MethodPost && (at(6) == "rewriteTo" || at(6) == "copyTo"):
			return gcsCall{kind: "copy", from: object, object: gcsObject{at(8), at(10)}}
		case r.Method == http.MethodDelete && len(segments) == 6:
			return gcsCall{kind: "delete", object: object}
		case r.Method == http.MethodGet && len(segments) == 6:
			return gcsCall{kind: "read", object: object}
		}
	case at(0) == "storage" || strings.HasPrefix(at(0), "_"):
	case rest(1) != "" && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		return gcsCall{kind: "xml", object: gcsObject{at(0), rest(1)}}
	}
	return gcsCall{}
}

var nameInBody = regexp.MustCompile(`"name"\s*:\s*("(?:[^"\\]|\\.)*")`)

// nameIn returns the name in the attributes that an upload begins with.
func nameIn(r *http.Request) (name string) {
	begin := make([]byte, 4096)
	n, _ := io.ReadFull(r.Body, begin)
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(begin[:n]), r.Body), r.Body}
	if m := nameInBody.FindSubmatch(begin[:n]); m != nil {
		json.Unmarshal(m[1], &name)
	}
	return name
}

// lock waits until no other request writes the objects. It returns the function that
// unlocks them.
func (h *gcsHandler) lock(objects ...gcsObject) func() {
	names := make([]string, len(objects))
	for i, o := range objects {
		names[i] = o.bucket + "/" + o.key
	}
	slices.Sort(names)
	names = slices.Compact(names)
	var locked []*sync.Mutex
	for _, name := range names {
		h.mu.Lock()
		if h.locks[name] == nil {
			h.locks[name] = new(sync.Mutex)
		}
		l := h.locks[name]
		h.mu.Unlock()
		l.Lock()
		locked = append(locked, l)
	}
	return func() {
		for _, l := range locked {
			l.Unlock()
		}
	}
}

// ask sends a request to the server behind. status is 0 if it does not answer.
func (h *gcsHandler) ask(ctx context.Context, method, path string, body []byte) (status int, text []byte) {
	req, err := http.NewRequestWithContext(ctx, method, h.behind+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil
	}
	req.Host = fakeHost
	req.Header.Set("Content-Type", "application/json")
	answer, err := h.proxy.Transport.RoundTrip(req)
	if err != nil {
		return 0, nil
	}
	defer answer.Body.Close()
	text, err = io.ReadAll(answer.Body)
	if err != nil {
		return 0, nil
	}
	return answer.StatusCode, text
}

func (h *gcsHandler) hasBucket(ctx context.Context, bucket string) bool {
	h.mu.Lock()
	known := h.buckets[bucket]
	h.mu.Unlock()
	if known {
		return true
	}
	status, _ := h.ask(ctx, http.MethodGet, "/storage/v1/b/"+url.PathEscape(bucket), nil)
	if status != http.StatusOK {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.buckets[bucket] = true
	return true
}

func (o gcsObject) path() string {
	return "/storage/v1/b/" + url.PathEscape(o.bucket) + "/o/" + url.PathEscape(o.key)
}

// state returns the generation of an object, "" if there is none, and its size.
func (h *gcsHandler) state(ctx context.Context, o gcsObject) (generation string, size int64) {
	status, text := h.ask(ctx, http.MethodGet, o.path(), nil)
	var r struct {
		Generation string
		Size       int64 `json:",string"`
	}
	if status != http.StatusOK || json.Unmarshal(text, &r) != nil {
		return "", 0
	}
	return r.Generation, r.Size
}

// holds reports whether the conditions in a query hold for an object that must exist, and
// refuses the request otherwise.
func (h *gcsHandler) holds(w http.ResponseWriter, r *http.Request, c gcsCall, o gcsObject, query url.Values, match, notMatch string) bool {
	generation, _ := h.state(r.Context(), o)
	if generation == "" && query.Get(match) != "0" {
		refuse(w, r, c, http.StatusNotFound, "No such object: "+o.bucket+"/"+o.key, "NoSuchKey")
		return false
	}
	return h.matches(w, r, c, generation, query, match, notMatch)
}

// matches reports whether the conditions in a query hold for a generation, and refuses the
// request otherwise.
func (h *gcsHandler) matches(w http.ResponseWriter, r *http.Request, c gcsCall, generation string, query url.Values, match, notMatch string) bool {
	if generation == "" {
		generation = "0"
	}
	if want := query.Get(match); want != "" && want != generation {
		refuse(w, r, c, http.StatusPreconditionFailed, "At least one of the pre-conditions you specified did not hold.", "PreconditionFailed")
		return false
	}
	if unwanted := query.Get(notMatch); unwanted != "" && unwanted == generation {
		status := http.StatusPreconditionFailed
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			status = http.StatusNotModified
		}
		refuse(w, r, c, status, "At least one of the pre-conditions you specified did not hold.", "PreconditionFailed")
		return false
	}
	return true
}

// reasons are the names of errors in JSON.
var reasons = map[int]string{
	http.StatusBadRequest: "invalid", http.StatusNotFound: "notFound",
	http.StatusPreconditionFailed: "conditionNotMet", http.StatusNotModified: "notModified",
}

// refuse answers with an error, in the form of the interface that the request uses.
func refuse(w http.ResponseWriter, r *http.Request, c gcsCall, status int, message, code string) {
	if status == http.StatusNotModified {
		w.WriteHeader(status)
		return
	}
	if c.kind == "xml" {
		w.Header().Set("Content-Type", "application/xml; charset=UTF-8")
		w.WriteHeader(status)
		fmt.Fprintf(w, "<?xml version='1.0' encoding='UTF-8'?><Error><Code>%s</Code><Message>%s</Message></Error>", code, message)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{
		"code": status, "message": message,
		"errors": []any{map[string]any{"message": message, "domain": "global", "reason": reasons[status]}},
	}})
}

// kindKey is the key of gcsCall.kind in the context of a request. wholeKey marks the context
// of a read of one generation.
type (
	kindKey  struct{}
	wholeKey struct{}
)

// read checks the conditions of a read. It lets the server behind read the generation that
// it has checked.
func (h *gcsHandler) read(w http.ResponseWriter, r *http.Request, c gcsCall) {
	query := r.URL.Query()
	match, notMatch := "ifGenerationMatch", "ifGenerationNotMatch"
	if c.kind == "xml" {
		for name, header := range map[string]string{match: "X-Goog-If-Generation-Match", notMatch: "X-Goog-If-Generation-Not-Match"} {
			if v := r.Header.Get(header); v != "" {
				query.Set(name, v)
			}
		}
	}
	if query.Has(match) || query.Has(notMatch) {
		generation, _ := h.state(r.Context(), c.object)
		if generation == "" {
			refuse(w, r, c, http.StatusNotFound, "No such object: "+c.object.bucket+"/"+c.object.key, "NoSuchKey")
			return
		}
		if !h.matches(w, r, c, generation, query, match, notMatch) {
			return
		}
		if query.Has(match) {
			query.Set("generation", generation)
			r.URL.RawQuery = query.Encode()
			r = r.WithContext(context.WithValue(r.Context(), wholeKey{}, true))
		}
	}
	h.proxy.ServeHTTP(w, r)
}

// modify changes an answer of the server behind into one of Google Cloud Storage.
func modify(answer *http.Response) error {
	r := answer.Request
	if at := answer.Header.Get("Location"); at != "" {
		if u, err := url.Parse(at); err == nil {
			u.Host = r.Header.Get(frontHost)
			answer.Header.Set("Location", u.String())
		}
	}
	isXML := r.Context().Value(kindKey{}) == "xml"
	switch {
	case answer.StatusCode == http.StatusNotFound && r.Context().Value(wholeKey{}) != nil:
		// The object has changed since its conditions were checked.
		answer.StatusCode, answer.Status = http.StatusPreconditionFailed, ""
		replace(answer, []byte(`{"error":{"code":412,"message":"At least one of the pre-conditions you specified did not hold.","errors":[{"reason":"conditionNotMet"}]}}`))
	case answer.StatusCode == http.StatusNotFound && isXML && r.Method == http.MethodGet:
		answer.Header.Set("Content-Type", "application/xml; charset=UTF-8")
		replace(answer, []byte(`<?xml version='1.0' encoding='UTF-8'?><Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>`))
	case answer.StatusCode == http.StatusOK && r.Method == http.MethodDelete:
		answer.StatusCode, answer.Status = http.StatusNoContent, ""
		replace(answer, nil)
	case answer.StatusCode == http.StatusOK && r.URL.Query().Get("fields") != "" && strings.HasPrefix(answer.Header.Get("Content-Type"), "application/json") && r.URL.Query().Get("alt") != "media":
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			return err
		}
		replace(answer, selected(text, r.URL.Query().Get("fields")))
	}
	return nil
}

func replace(answer *http.Response, text []byte) {
	answer.Body.Close()
	answer.Body = io.NopCloser(bytes.NewReader(text))
	answer.ContentLength = int64(len(text))
	answer.Header.Set("Content-Length", strconv.Itoa(len(text)))
}
