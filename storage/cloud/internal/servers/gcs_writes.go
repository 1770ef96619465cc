package servers

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"net/url"
	"strings"
)

// compose checks the conditions of a composition.
func (h *gcsHandler) compose(w http.ResponseWriter, r *http.Request, c gcsCall) {
	text, err := io.ReadAll(r.Body)
	var order struct {
		SourceObjects []struct {
			Name                string
			Generation          string
			ObjectPreconditions struct{ IfGenerationMatch string }
		}
	}
	if err != nil || json.Unmarshal(text, &order) != nil {
		refuse(w, r, c, http.StatusBadRequest, "Parse Error", "")
		return
	}
	if n := len(order.SourceObjects); n == 0 || n > 32 {
		refuse(w, r, c, http.StatusBadRequest, "The number of source components must be between 1 and 32.", "")
		return
	}
	objects := []gcsObject{c.object}
	for _, s := range order.SourceObjects {
		objects = append(objects, gcsObject{c.object.bucket, s.Name})
	}
	defer h.lock(objects...)()
	old, _ := h.state(r.Context(), c.object)
	if !h.matches(w, r, c, old, r.URL.Query(), "ifGenerationMatch", "ifGenerationNotMatch") {
		return
	}
	for i, s := range order.SourceObjects {
		generation, _ := h.state(r.Context(), objects[i+1])
		if generation == "" || s.Generation != "" && s.Generation != generation {
			refuse(w, r, c, http.StatusNotFound, "Object "+s.Name+" was not found.", "")
			return
		}
		if want := s.ObjectPreconditions.IfGenerationMatch; want != "" && want != generation {
			refuse(w, r, c, http.StatusPreconditionFailed, "At least one of the pre-conditions you specified did not hold.", "")
			return
		}
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	if old == "" {
		h.proxy.ServeHTTP(w, r)
		return
	}
	// The server behind would keep the time and the content type of the old object.
	aside := gcsObject{c.object.bucket, c.object.key + h.unique(".aside-")}
	status, _ := h.ask(r.Context(), http.MethodPost, aside.path()+"/compose", text)
	var moved struct{ Resource json.RawMessage }
	if status == http.StatusOK {
		status, text = h.ask(r.Context(), http.MethodPost, aside.path()+"/rewriteTo/b/"+url.PathEscape(c.object.bucket)+"/o/"+url.PathEscape(c.object.key), nil)
		h.ask(r.Context(), http.MethodDelete, aside.path(), nil)
	}
	if status != http.StatusOK || json.Unmarshal(text, &moved) != nil {
		refuse(w, r, c, http.StatusInternalServerError, "the server behind does not compose", "")
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.Write(selected(moved.Resource, r.URL.Query().Get("fields")))
}

// unique returns a text that no other call returns.
func (h *gcsHandler) unique(prefix string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.next++
	return fmt.Sprint(prefix, h.next)
}

// copy checks the conditions of a copy, and lets a large one take two requests.
func (h *gcsHandler) copy(w http.ResponseWriter, r *http.Request, c gcsCall) {
	defer h.lock(c.from, c.object)()
	query := r.URL.Query()
	if !h.holds(w, r, c, c.from, query, "ifSourceGenerationMatch", "ifSourceGenerationNotMatch") {
		return
	}
	generation, _ := h.state(r.Context(), c.object)
	if !h.matches(w, r, c, generation, query, "ifGenerationMatch", "ifGenerationNotMatch") {
		return
	}
	if _, size := h.state(r.Context(), c.from); size >= largeCopy && strings.Contains(r.URL.EscapedPath(), "/rewriteTo/") {
		token := query.Get("rewriteToken")
		h.mu.Lock()
		known := h.copies[token]
		delete(h.copies, token)
		h.mu.Unlock()
		switch {
		case token == "":
			token = h.unique("rewrite-")
			h.mu.Lock()
			h.copies[token] = true
			h.mu.Unlock()
			text, _ := json.Marshal(map[string]any{"kind": "storage#rewriteResponse", "done": false, "rewriteToken": token,
				"totalBytesRewritten": fmt.Sprint(size / 2), "objectSize": fmt.Sprint(size)})
			w.Header().Set("Content-Type", "application/json; charset=UTF-8")
			w.Write(selected(text, query.Get("fields")))
			return
		case !known:
			refuse(w, r, c, http.StatusBadRequest, "Invalid rewrite token.", "")
			return
		}
	}
	h.proxy.ServeHTTP(w, r)
}

// batch answers the requests of a batch, one after the other.
func (h *gcsHandler) batch(w http.ResponseWriter, r *http.Request) {
	_, kind, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind["boundary"] == "" {
		refuse(w, r, gcsCall{}, http.StatusBadRequest, "Failed to parse batch request", "")
		return
	}
	var out bytes.Buffer
	answers := multipart.NewWriter(&out)
	parts := multipart.NewReader(r.Body, kind["boundary"])
	for n := 0; ; n++ {
		part, err := parts.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil || n == 100 || part.Header.Get("Content-Type") != "application/http" {
			refuse(w, r, gcsCall{}, http.StatusBadRequest, "Failed to parse batch request", "")
			return
		}
		inner, err := http.ReadRequest(bufio.NewReader(part))
		if err != nil {
			refuse(w, r, gcsCall{}, http.StatusBadRequest, "Failed to parse batch request", "")
			return
		}
		record := httptest.NewRecorder()
		h.ServeHTTP(record, inner.WithContext(r.Context()))
		id := part.Header.Get("Content-ID")
		one, err := answers.CreatePart(textproto.MIMEHeader{"Content-Type": {"application/http"}, "Content-Id": {strings.Replace(id, "<", "<response-", 1)}})
		if err != nil {
			refuse(w, r, gcsCall{}, http.StatusInternalServerError, err.Error(), "")
			return
		}
		fmt.Fprintf(one, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
			record.Code, http.StatusText(record.Code), record.Header().Get("Content-Type"), record.Body.Len(), record.Body.Bytes())
	}
	answers.Close()
	w.Header().Set("Content-Type", "multipart/mixed; boundary="+answers.Boundary())
	w.Write(out.Bytes())
}
