package gcs

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-orbax/orbax/storage/cloud/internal/buffers"
	"github.com/go-orbax/orbax/storage/object"
)

// request is a request to the service.
type request struct {
	op, key string // for errors
	method  string
	path    string
	query   url.Values
	header  http.Header
	body    [][]byte // nil: none
}

// objectPath is the path of an object in the JSON interface.
func (b *bucketAPI) objectPath(key string) string {
	return "/storage/v1/b/" + b.bucket + "/o/" + url.PathEscape(key)
}

// xmlPath is the path of an object in the XML interface.
func (b *bucketAPI) xmlPath(key string) string {
	return "/" + b.bucket + "/" + strings.ReplaceAll(url.PathEscape(key), "%2F", "/")
}

// send sends a request and returns the answer if it is a success, or has one of the given
// other statuses. The caller closes its body.
func (b *bucketAPI) send(ctx context.Context, r request, others ...int) (*http.Response, error) {
	target := b.endpoint + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, nil)
	if err != nil {
		return nil, b.broken(ctx, r, err)
	}
	if r.header != nil {
		req.Header = r.header
	}
	if r.body != nil {
		first := buffers.NewReader(r.body)
		readers := []*buffers.Reader{first}
		req.ContentLength, req.Body = first.Size(), first
		req.GetBody = func() (io.ReadCloser, error) {
			again := buffers.NewReader(r.body)
			readers = append(readers, again)
			return again, nil
		}
		defer func() {
			for _, reader := range readers {
				reader.Detach()
			}
		}()
	}
	answer, err := b.client.Do(req)
	if err != nil {
		return nil, b.broken(ctx, r, err)
	}
	if answer.StatusCode/100 == 2 {
		return answer, nil
	}
	for _, status := range others {
		if answer.StatusCode == status {
			return answer, nil
		}
	}
	defer answer.Body.Close()
	return nil, b.refused(r, answer)
}

// ask sends a request and decodes the JSON of the answer into v. It returns the time of the
// answer.
func (b *bucketAPI) ask(ctx context.Context, r request, v any) (now time.Time, err error) {
	answer, err := b.send(ctx, r)
	if err != nil {
		return now, err
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(v); err != nil {
		if strings.HasPrefix(answer.Header.Get("Content-Type"), "text/html") && ctx.Err() == nil {
			return now, &object.Error{Op: r.op, Key: r.key, Message: "the service sends a web page; check its address"}
		}
		return now, b.broken(ctx, r, err)
	}
	io.Copy(io.Discard, io.LimitReader(answer.Body, 4096)) // the end, so that the connection is used again
	return dateOf(answer), nil
}

// dateOf returns the time of an answer by the clock of the service.
func dateOf(answer *http.Response) time.Time {
	now, _ := http.ParseTime(answer.Header.Get("Date"))
	return now
}

// resource is the description of an object by the service. Its numbers are strings.
type resource struct {
	Name        string            `json:"name"`
	Size        int64             `json:"size,string"`
	Generation  string            `json:"generation"`
	TimeCreated time.Time         `json:"timeCreated"`
	CRC32C      string            `json:"crc32c"`
	Metadata    map[string]string `json:"metadata"`
}

// resourceFields are the fields of a resource that answers should have.
const resourceFields = "name,size,generation,timeCreated,crc32c,metadata"

func (r *resource) info(now time.Time) object.Info {
	return object.Info{
		Key: r.Name, Size: r.Size, Modified: r.TimeCreated, Version: r.Generation,
		Writer: r.Metadata[writerKey], Now: now,
	}
}

// writerKey is the name of Info.Writer in the user metadata. uploadKey is that of the id of
// the upload that has made an object of parts.
const (
	writerKey = "orbax-writer"
	uploadKey = "orbax-upload"
)

// attributes are what a write records with an object.
type attributes struct {
	Name         string            `json:"name,omitempty"`
	ContentType  string            `json:"contentType"`
	CacheControl string            `json:"cacheControl"`
	CRC32C       string            `json:"crc32c,omitempty"`
	Metadata     map[string]string `json:"metadata,omitempty"`
}

func attributesOf(o object.PutOptions) attributes {
	// Without no-store the service may answer reads of a public object with an old version,
	// for an hour.
	a := attributes{ContentType: "application/octet-stream", CacheControl: "no-store"}
	if o.Writer != "" {
		a.Metadata = map[string]string{writerKey: o.Writer}
	}
	return a
}

// conditions adds the conditions of a write to a query.
func conditions(query url.Values, o object.PutOptions) url.Values {
	switch {
	case o.IfAbsent:
		query.Set("ifGenerationMatch", "0")
	case o.IfVersion != "":
		query.Set("ifGenerationMatch", generationOf(o.IfVersion))
	}
	return query
}

// generationOf returns a version for a condition. A text that is no generation becomes one
// that no object has, so that the service says whether there is an object.
func generationOf(version string) string {
	if n, err := strconv.ParseInt(version, 10, 64); err != nil || n <= 0 {
		return "1"
	}
	return version
}

// jsonBody returns a body for a JSON request.
func jsonBody(v any) ([][]byte, error) {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(v); err != nil {
		return nil, err
	}
	return [][]byte{b.Bytes()}, nil
}

var jsonHeader = http.Header{"Content-Type": {"application/json"}}
