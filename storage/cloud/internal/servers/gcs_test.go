package servers_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/go-orbax/orbax/storage/cloud/internal/servers"
)

// fake-gcs-server starts, and the handler in front of it keeps the rules of Google Cloud
// Storage that the server does not keep.
func TestGCS(t *testing.T) {
	base := "http://" + servers.GCS.Start(t)
	do := func(method, path, body string, header ...string) (status int, text string) {
		t.Helper()
		req, err := http.NewRequest(method, base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range header {
			if name, value, ok := strings.Cut(h, ": "); ok {
				req.Header.Set(name, value)
			}
		}
		answer, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		all, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		if answer.Header.Get("Date") == "" {
			t.Error("an answer has no date")
		}
		return answer.StatusCode, string(bytes.TrimSpace(all))
	}
	put := func(key string, text string) (generation string) {
		t.Helper()
		status, answer := do("POST", "/upload/storage/v1/b/b01/o?uploadType=media&fields=generation&name="+key, text)
		if status != 200 {
			t.Fatalf("insert: %d %s", status, answer)
		}
		return strings.TrimSuffix(strings.TrimPrefix(answer, `{"generation":"`), `"}`)
	}
	if status, text := do("POST", "/upload/storage/v1/b/b01/o?uploadType=media&name=x", "1"); status != 404 || !strings.Contains(text, "bucket does not exist") {
		t.Errorf("insert without a bucket: %d %s", status, text)
	}
	if status, text := do("GET", "/b01/x", ""); status != 404 || !strings.Contains(text, "NoSuchBucket") {
		t.Errorf("read without a bucket: %d %s", status, text)
	}
	servers.MakeGCSBucket(t, strings.TrimPrefix(base, "http://"), "b01")
	old := put("x", "first")
	now := put("x", "second")
	put("dir/y", "y")
	const prefix = "/storage/v1/b/b01/o"
	batch := func(path string) string {
		return "--B\r\nContent-Type: application/http\r\nContent-ID: <1>\r\n\r\nDELETE " + path + " HTTP/1.1\r\n\r\n\r\n--B--\r\n"
	}
	for _, c := range []struct {
		method, path, body, header string
		status                     int
		text                       string
	}{
		{"GET", "/b01/x", "", "X-Goog-If-Generation-Match: " + old, 412, ""},
		{"GET", "/b01/x", "", "X-Goog-If-Generation-Match: " + now, 200, "second"},
		{"GET", "/b01/x", "", "X-Goog-If-Generation-Not-Match: " + now, 304, ""},
		{"GET", "/b01/none", "", "X-Goog-If-Generation-Match: " + now, 404, "NoSuchKey"},
		{"GET", "/b01/none", "", "", 404, "NoSuchKey"},
		{"GET", prefix + "/x?alt=media&ifGenerationMatch=" + old, "", "", 412, "conditionNotMet"},
		{"GET", prefix + "/x?fields=size,name&ifGenerationMatch=" + now, "", "", 200, `{"name":"x","size":"6"}`},
		{"GET", prefix + "?maxResults=1&delimiter=/&fields=items(name),prefixes,nextPageToken", "", "", 200, `{"nextPageToken":"dir/","prefixes":["dir/"]}`},
		{"GET", prefix + "?maxResults=1&delimiter=/&fields=items(name),prefixes,nextPageToken&pageToken=dir/", "", "", 200, `{"items":[{"name":"x"}]}`},
		{"POST", prefix + "/x/rewriteTo/b/b01/o/z?ifSourceGenerationMatch=" + old, "", "", 412, ""},
		{"POST", prefix + "/x/rewriteTo/b/b01/o/dir%2Fy?ifGenerationMatch=0", "", "", 412, ""},
		{"POST", prefix + "/none/rewriteTo/b/b01/o/z", "", "", 404, ""},
		{"POST", prefix + "/x/rewriteTo/b/b01/o/z?ifGenerationMatch=0&fields=done", "", "", 200, `{"done":true}`},
		{"POST", prefix + "/c/compose", `{"sourceObjects":[{"name":"x","objectPreconditions":{"ifGenerationMatch":"` + old + `"}}]}`, "", 412, ""},
		{"POST", prefix + "/x/compose?ifGenerationMatch=0", `{"sourceObjects":[{"name":"x"}]}`, "", 412, ""},
		{"POST", prefix + "/c/compose", `{"sourceObjects":[{"name":"none"}]}`, "", 404, ""},
		{"POST", prefix + "/x/compose?fields=size", `{"sourceObjects":[{"name":"x"},{"name":"dir/y"}]}`, "", 200, `{"size":"7"}`},
		{"GET", "/b01/x", "", "", 200, "secondy"},
		{"DELETE", prefix + "/x?ifGenerationMatch=" + now, "", "", 412, ""},
		{"POST", "/batch/storage/v1", batch(prefix + "/x?ifGenerationMatch=" + now), "Content-Type: multipart/mixed; boundary=B", 200, "HTTP/1.1 412"},
		{"POST", "/batch/storage/v1", batch(prefix + "/x"), "Content-Type: multipart/mixed; boundary=B", 200, "HTTP/1.1 204"},
		{"DELETE", prefix + "/x", "", "", 404, ""},
		{"DELETE", prefix + "/dir%2Fy", "", "", 204, ""},
	} {
		status, text := do(c.method, c.path, c.body, c.header)
		if status != c.status || !strings.Contains(text, c.text) {
			t.Errorf("%s %s %s: %d %s, want %d %s", c.method, c.path, c.header, status, text, c.status, c.text)
		}
	}
}
