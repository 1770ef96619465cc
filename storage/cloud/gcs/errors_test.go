package gcs_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/go-orbax/orbax/storage/cloud/gcs"
	"github.com/go-orbax/orbax/storage/object"
)

// token is the credentials of the requests in these tests.
const token = "ya29.a0AfSECRETsecretSECRET"

// answering returns a bucket whose service gives each request the same answer. The requests
// have credentials unless anonymous is true.
func answering(t *testing.T, anonymous bool, answer http.HandlerFunc) object.Bucket {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	var client *http.Client
	if !anonymous {
		client = oauth2.NewClient(t.Context(), oauth2.StaticTokenSource(&oauth2.Token{AccessToken: token}))
	}
	b, err := gcs.New(client, "bucket", gcs.Options{Endpoint: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// calls are all calls that send a request. Each returns its error.
func calls(b object.Bucket) map[string]func(ctx context.Context) error {
	return map[string]func(ctx context.Context) error{
		"get": func(ctx context.Context) error {
			_, _, err := b.Get(ctx, "a/key", "7", [][]byte{make([]byte, 9)}, 0)
			return err
		},
		"stat": func(ctx context.Context) error { _, err := b.Stat(ctx, "a/key"); return err },
		"list": func(ctx context.Context) error {
			_, err := b.List(ctx, object.ListOptions{Prefix: "a/key"})
			return err
		},
		"put": func(ctx context.Context) error {
			_, err := b.Put(ctx, "a/key", [][]byte{{1}}, object.PutOptions{})
			return err
		},
		"copy": func(ctx context.Context) error {
			_, err := b.Copy(ctx, object.Ref{Key: "a/key"}, "b", object.PutOptions{})
			return err
		},
		"delete": func(ctx context.Context) error { return b.Delete(ctx, []object.Ref{{Key: "a/key"}}) },
		"delete several": func(ctx context.Context) error {
			return b.Delete(ctx, []object.Ref{{Key: "a/key"}, {Key: "b"}})
		},
		"upload": func(ctx context.Context) error {
			u, err := b.Upload(ctx, "a/key", -1, object.PutOptions{})
			if err != nil {
				return err
			}
			return u.Part(ctx, 1, 0, [][]byte{{1}})
		},
	}
}

const xmlError = "<?xml version='1.0' encoding='UTF-8'?><Error><Code>%c</Code><Message>%m</Message></Error>"

// What the service answers becomes an error that says what to do, in JSON and in XML.
func TestErrors(t *testing.T) {
	for _, c := range []struct {
		name             string
		status           int
		reason, code     string // in JSON, in XML
		message          string
		header           http.Header
		anonymous        bool
		class            error
		temporary, slows bool
		after            time.Duration
		text             string // in the error
	}{
		{name: "changed", status: 412, reason: "conditionNotMet", code: "PreconditionFailed", message: "At least one…", class: object.ErrPrecondition, text: "changed by another writer"},
		{name: "not modified", status: 304, class: object.ErrPrecondition},
		{name: "missing", status: 404, reason: "notFound", code: "NoSuchKey", message: "No such object: bucket/a/key", class: fs.ErrNotExist, text: "does not exist"},
		{name: "missing bucket", status: 404, reason: "notFound", code: "NoSuchBucket", message: "The specified bucket does not exist.", text: "there is no bucket bucket; make it with `gcloud storage buckets create gs://bucket`, or correct its name in the path"},
		{name: "rate", status: 429, reason: "rateLimitExceeded", code: "SlowDown", message: "slower", header: http.Header{"Retry-After": {"3"}}, temporary: true, slows: true, after: 3 * time.Second, text: "slower"},
		{name: "overload", status: 503, reason: "backendError", code: "ServiceUnavailable", message: "busy", temporary: true, slows: true},
		{name: "rate, as 403", status: 403, reason: "userRateLimitExceeded", code: "UserRateLimitExceeded", message: "slower", temporary: true, slows: true},
		{name: "internal", status: 500, reason: "internalError", code: "InternalError", message: "oops", temporary: true},
		{name: "gateway", status: 502, temporary: true},
		{name: "gateway timeout", status: 504, temporary: true},
		{name: "timeout", status: 408, temporary: true},
		{name: "damaged", status: 400, reason: "invalid", code: "BadDigest", message: `Provided CRC32C "AAAAAA==" doesn't match calculated CRC32C "4waSgw==".`, temporary: true, text: "the bytes were damaged on their way"},
		{name: "bad request", status: 400, reason: "invalid", code: "InvalidArgument", message: "Invalid argument.", text: "Invalid argument."},
		{name: "not implemented", status: 501, reason: "notImplemented", code: "NotImplemented", message: "no"},
		{name: "expired", status: 401, reason: "authError", code: "AuthenticationRequired", message: "Invalid Credentials", class: fs.ErrPermission,
			text: "Invalid Credentials; the credentials have expired or are not valid; run `gcloud auth application-default login`"},
		{name: "anonymous", status: 401, reason: "required", code: "AuthenticationRequired", message: "Anonymous caller does not have storage.objects.get access.", anonymous: true, class: fs.ErrPermission,
			text: "access; the request had no credentials; run `gcloud auth application-default login`"},
		{name: "anonymous, as 403", status: 403, reason: "forbidden", code: "AccessDenied", message: "Access denied.", anonymous: true, class: fs.ErrPermission, text: "Access denied; the request had no credentials"},
		{name: "no permission", status: 403, reason: "forbidden", code: "AccessDenied", message: "x@y.iam does not have storage.objects.get access.", class: fs.ErrPermission,
			text: "x@y.iam does not have storage.objects.get access; the account needs the role roles/storage.object"},
		{name: "secret", status: 400, reason: "invalid", code: "InvalidArgument", message: "Authorization: Bearer " + token + " in https://user:password1@host/?sig=" + token + ", access_token=otherSECRET"},
		{name: "html", status: 500, temporary: true},
	} {
		b := answering(t, c.anonymous, func(w http.ResponseWriter, r *http.Request) {
			for k, v := range c.header {
				w.Header()[k] = v
			}
			w.WriteHeader(c.status)
			switch {
			case c.name == "html":
				io.WriteString(w, "<html><body>error</body></html>")
			case c.reason == "":
			case strings.HasPrefix(r.URL.Path, "/storage/") || strings.HasPrefix(r.URL.Path, "/upload/") || strings.HasPrefix(r.URL.Path, "/batch/"):
				message := strings.ReplaceAll(c.message, `"`, `\"`)
				io.WriteString(w, `{"error":{"code":1,"message":"`+message+`","errors":[{"reason":"`+c.reason+`","message":"`+message+`"}]}}`)
			default:
				io.WriteString(w, strings.NewReplacer("%c", c.code, "%m", c.message).Replace(xmlError))
			}
		})
		for op, call := range calls(b) {
			err := call(t.Context())
			if strings.HasPrefix(op, "delete") && (errors.Is(c.class, fs.ErrNotExist) || errors.Is(c.class, object.ErrPrecondition)) && op == "delete" {
				if err != nil {
					t.Errorf("%s, %s: %v, want no error", c.name, op, err)
				}
				continue
			}
			var e *object.Error
			if !errors.As(err, &e) {
				t.Errorf("%s, %s: %v is no *object.Error", c.name, op, err)
				continue
			}
			if e.Status != c.status || e.Temporary != c.temporary || e.Throttled != c.slows || e.After != c.after {
				t.Errorf("%s, %s: got %+v", c.name, op, *e)
			}
			want, is := c.text, c.class
			if c.name == "missing" && slices.Contains([]string{"list", "put", "upload"}, op) { // what fits any key
				want, is = "there is no bucket bucket; make it with", nil
			}
			for _, class := range []error{object.ErrPrecondition, fs.ErrNotExist, fs.ErrPermission} {
				if errors.Is(err, class) != (class == is) {
					t.Errorf("%s, %s: %v matches %v: %v", c.name, op, err, class, errors.Is(err, class))
				}
			}
			first, _, _ := strings.Cut(op, " ")
			if text := err.Error(); !strings.Contains(text, want) || !strings.HasPrefix(text, first+" a/key: ") && op != "upload" || strings.Contains(text, "html") {
				t.Errorf("%s, %s: the text is %q, want %q in it", c.name, op, text, want)
			}
			checkSecrets(t, err)
		}
	}
}

// checkSecrets fails the test if an error shows credentials.
func checkSecrets(t *testing.T, err error) {
	t.Helper()
	for e := err; e != nil; e = errors.Unwrap(e) {
		for _, secret := range []string{token, "SECRET", "password1"} {
			if strings.Contains(e.Error(), secret) {
				t.Errorf("the error %q has credentials", e)
			}
		}
	}
}

// A service that is out of reach, cuts the answer, or answers something else is a temporary
// error.
func TestBrokenAnswers(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"cut": func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) },
		"half": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "{")
		},
		"not JSON": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, "<p>")
		},
		"no answer": nil,
	} {
		b := answering(t, false, answer)
		if answer == nil {
			var err error
			if b, err = gcs.New(nil, "bucket", gcs.Options{Endpoint: "http://127.0.0.1:1"}); err != nil {
				t.Fatal(err)
			}
		}
		for op, call := range calls(b) {
			err := call(t.Context())
			if op == "delete" && err == nil { // an answer to it has no content
				continue
			}
			var e *object.Error
			if !errors.As(err, &e) || !e.Temporary || e.Throttled {
				t.Errorf("%s, %s: got the error %v", name, op, err)
			}
		}
	}
}

// Several deletions in a batch fail alone.
func TestBatchErrors(t *testing.T) {
	statuses := map[string]string{"gone": "404 Not Found", "changed": "412 Precondition Failed", "busy": "503 Service Unavailable", "denied": "403 Forbidden", "fine": "204 No Content"}
	b := answering(t, false, func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "multipart/mixed; boundary=B")
		for i, part := range strings.Split(string(text), "DELETE ")[1:] {
			key := strings.TrimPrefix(strings.Fields(part)[0], "/storage/v1/b/bucket/o/")
			if key == "forgotten" {
				continue
			}
			io.WriteString(w, "--B\r\nContent-Type: application/http\r\nContent-ID: <response-orbax+"+string(rune('0'+i))+">\r\n\r\nHTTP/1.1 "+statuses[key]+"\r\nContent-Length: 0\r\n\r\n\r\n")
		}
		io.WriteString(w, "--B--\r\n")
	})
	for _, c := range []struct {
		keys string
		want string // key of the error
	}{
		{"fine gone changed", ""}, {"busy fine", "busy"}, {"busy denied busy", "denied"}, {"fine forgotten", "forgotten"}, {"forgotten denied", "denied"},
	} {
		var refs []object.Ref
		for key := range strings.FieldsSeq(c.keys) {
			refs = append(refs, object.Ref{Key: key})
		}
		err := b.Delete(t.Context(), refs)
		var e *object.Error
		switch errors.As(err, &e); {
		case c.want == "" && err != nil, c.want != "" && (e == nil || e.Key != c.want):
			t.Errorf("%s: got the error %v, want one of %q", c.keys, err, c.want)
		case e != nil && e.Temporary != (c.want == "busy" || c.want == "forgotten"):
			t.Errorf("%s: got %+v", c.keys, *e)
		}
	}
}
