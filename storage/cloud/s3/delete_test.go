package s3_test

import (
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/go-orbax/orbax/storage/cloud/s3"
	"github.com/go-orbax/orbax/storage/object"
)

// amazon is a service with objects, which answers as Amazon S3 does.
type amazon struct {
	objects  map[string]string // their ETags
	odd      bool              // it answers batches in an unknown way
	requests []string
}

func (a *amazon) Do(r *http.Request) (*http.Response, error) {
	a.requests = append(a.requests, r.Method+" "+r.URL.RequestURI())
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	status, text, header := http.StatusOK, "", http.Header{"Content-Type": {"application/xml"}}
	switch {
	case r.Method == http.MethodHead:
		header.Set("Etag", a.objects[keyOf(r)])
	case r.Method == http.MethodGet:
		text = "<ListBucketResult><Name>bucket</Name></ListBucketResult>"
	case r.Method == http.MethodDelete:
		key := keyOf(r)
		status = http.StatusNoContent
		if match := r.Header.Get("If-Match"); match != "" && a.objects[key] != match {
			status, text = http.StatusPreconditionFailed, "<Error><Code>PreconditionFailed</Code></Error>"
			break
		}
		delete(a.objects, key)
	default:
		var list struct {
			Object []struct{ Key, ETag string }
		}
		if err := xml.Unmarshal(body, &list); err != nil {
			return nil, err
		}
		text = "<DeleteResult>"
		for _, o := range list.Object {
			switch {
			case a.odd:
				text += "<Error><Key>" + o.Key + "</Key><Code>SomethingNew</Code></Error>"
			case o.ETag != "" && a.objects[o.Key] != o.ETag:
				text += "<Error><Key>" + o.Key + "</Key><Code>PreconditionFailed</Code></Error>"
			default:
				delete(a.objects, o.Key)
			}
		}
		text += "</DeleteResult>"
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(text)), ContentLength: int64(len(text)), Request: r}, nil
}

// keyOf returns the key that a request is about.
func keyOf(r *http.Request) string {
	path := r.URL.EscapedPath()
	key, _ := url.PathUnescape(path[strings.LastIndex(path, "/")+1:])
	return key
}

// Amazon deletes a thousand objects in one request, also if each is to have a version. Other
// services would ignore the versions there, and get one request for each.
func TestDeletesTogether(t *testing.T) {
	const many = 2500
	for _, c := range []struct {
		name     string
		options  []func(*awss3.Options)
		odd      bool
		versions bool
		want     int
	}{
		{"Amazon, with versions", nil, false, true, 3},
		{"Amazon, any version", nil, false, false, 3},
		{"Amazon with a new answer", nil, true, true, 3 + many},
		{"another service, with versions", []func(*awss3.Options){func(o *awss3.Options) { o.BaseEndpoint = new("https://storage.example.com") }}, false, true, many},
		{"another service, any version", []func(*awss3.Options){func(o *awss3.Options) { o.BaseEndpoint = new("https://amazonaws.com.example.com") }}, false, false, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			service := &amazon{objects: map[string]string{}, odd: c.odd}
			serial := &syncDoer{do: service.Do}
			o := awss3.Options{Region: "eu-west-1", HTTPClient: serial, Credentials: static}
			for _, f := range c.options {
				f(&o)
			}
			b := s3.New(awss3.New(o), "bucket")
			var refs []object.Ref
			for i := range many {
				key, version := fmt.Sprint("k", i), ""
				if c.versions {
					version = fmt.Sprintf(`"v%d"`, i)
				}
				refs = append(refs, object.Ref{Key: key, Version: version})
				service.objects[key] = version
			}
			if c.versions {
				service.objects["k7"] = `"newer"` // another writer has made it since
			}
			if _, err := b.List(t.Context(), object.ListOptions{}); err != nil {
				t.Fatal(err)
			}
			// From now on it is known whether the service compares versions.
			service.objects["first"] = `"v"`
			if err := b.Delete(t.Context(), []object.Ref{{Key: "first", Version: `"v"`}}); err != nil {
				t.Fatal(err)
			}
			before := len(service.requests)
			if err := b.Delete(t.Context(), refs); err != nil {
				t.Fatal(err)
			}
			if n := len(service.requests) - before; n != c.want {
				t.Errorf("%d requests, want %d", n, c.want)
			}
			if _, newer := service.objects["k7"]; newer != c.versions || len(service.objects) > 1 {
				t.Errorf("%d objects are left, the newer one is one of them: %v", len(service.objects), newer)
			}
		})
	}
}
