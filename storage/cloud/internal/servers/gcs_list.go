package servers

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// list makes pages of objects and prefixes.
func (h *gcsHandler) list(w http.ResponseWriter, r *http.Request, c gcsCall) {
	query := r.URL.Query()
	limit, token := 1000, query.Get("pageToken")
	if n, err := strconv.Atoi(query.Get("maxResults")); err == nil && n > 0 {
		limit = min(limit, n)
	}
	query.Del("maxResults")
	query.Del("pageToken")
	status, text := h.ask(r.Context(), http.MethodGet, "/storage/v1/b/"+url.PathEscape(c.object.bucket)+"/o?"+query.Encode(), nil)
	var all struct {
		Items    []json.RawMessage `json:"items"`
		Prefixes []string          `json:"prefixes"`
	}
	if status != http.StatusOK || json.Unmarshal(text, &all) != nil {
		refuse(w, r, c, http.StatusInternalServerError, "the server behind does not list", "")
		return
	}
	items := map[string]json.RawMessage{}
	names := slices.Clone(all.Prefixes)
	for _, item := range all.Items {
		var o struct{ Name string }
		json.Unmarshal(item, &o)
		items[o.Name] = item
		names = append(names, o.Name)
	}
	slices.Sort(names)
	page := map[string]any{"kind": "storage#objects"}
	var objects []json.RawMessage
	var prefixes []string
	for _, name := range names {
		if name <= token && token != "" {
			continue
		}
		if len(objects)+len(prefixes) == limit {
			break
		}
		if item, ok := items[name]; ok {
			objects = append(objects, item)
		} else {
			prefixes = append(prefixes, name)
		}
		page["nextPageToken"] = name
	}
	if len(names) == 0 || page["nextPageToken"] == names[len(names)-1] {
		delete(page, "nextPageToken")
	}
	if objects != nil {
		page["items"] = objects
	}
	if prefixes != nil {
		page["prefixes"] = prefixes
	}
	text, _ = json.Marshal(page)
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.Write(selected(text, query.Get("fields")))
}

// selected returns a JSON text with only the given fields, as a(b,c),d. Without fields, or if
// they cannot be read, the whole text is returned.
func selected(text []byte, fields string) []byte {
	var v any
	if fields == "" || json.Unmarshal(text, &v) != nil {
		return text
	}
	v, _ = selectFields(v, fields)
	text, _ = json.Marshal(v)
	return text
}

// selectFields returns the fields of v, and what follows them in the text.
func selectFields(v any, fields string) (any, string) {
	if list, ok := v.([]any); ok {
		rest := ""
		for i := range list {
			list[i], rest = selectFields(list[i], fields)
		}
		if len(list) == 0 {
			_, rest = selectFields(map[string]any{}, fields)
		}
		return list, rest
	}
	from, _ := v.(map[string]any)
	to := map[string]any{}
	for {
		end := strings.IndexAny(fields, ",()")
		if end < 0 {
			end = len(fields)
		}
		name := fields[:end]
		value, has := from[name]
		fields = fields[end:]
		if strings.HasPrefix(fields, "(") {
			var inner any
			inner, fields = selectFields(value, fields[1:])
			fields = strings.TrimPrefix(fields, ")")
			if has {
				value = inner
			}
		}
		if has {
			to[name] = value
		}
		if !strings.HasPrefix(fields, ",") {
			return to, fields
		}
		fields = fields[1:]
	}
}
