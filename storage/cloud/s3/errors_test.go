package s3_test

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/go-orbax/orbax/storage/cloud/s3"
	"github.com/go-orbax/orbax/storage/object"
)

// These credentials must appear in no error.
const (
	secretID    = "AKIAIOSFODNN7EXAMPLE"
	secretKey   = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	secretToken = "FwoGZXIvYXdzEXAMPLE//token+with=signs"
)

// fake returns the bucket "bucket" of a service that answers with h.
func fake(t *testing.T, h http.HandlerFunc, options ...func(*awss3.Options)) object.Bucket {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return s3.New(awss3.New(awss3.Options{
		BaseEndpoint: aws.String(server.URL), UsePathStyle: true, Region: "us-east-1",
		Credentials: credentials.NewStaticCredentialsProvider(secretID, secretKey, secretToken),
	}, options...), "bucket")
}

// refuse answers with an error, as S3 does.
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>`, code)
	xml.EscapeText(w, []byte(message))
	io.WriteString(w, "</Message><RequestId>1</RequestId></Error>")
}

// calls are the calls of a bucket.
var calls = map[string]func(context.Context, object.Bucket) error{
	"get": func(ctx context.Context, b object.Bucket) error {
		_, _, err := b.Get(ctx, "key", "", [][]byte{make([]byte, 9)}, 0)
		return err
	},
	"stat": func(ctx context.Context, b object.Bucket) error { _, err := b.Stat(ctx, "key"); return err },
	"list": func(ctx context.Context, b object.Bucket) error {
		_, err := b.List(ctx, object.ListOptions{Prefix: "key"})
		return err
	},
	"put": func(ctx context.Context, b object.Bucket) error {
		_, err := b.Put(ctx, "key", [][]byte{[]byte("x")}, object.PutOptions{})
		return err
	},
	"upload": func(ctx context.Context, b object.Bucket) error {
		_, err := b.Upload(ctx, "key", 9, object.PutOptions{})
		return err
	},
	"copy": func(ctx context.Context, b object.Bucket) error {
		_, err := b.Copy(ctx, object.Ref{Key: "key"}, "to", object.PutOptions{})
		return err
	},
	"delete": func(ctx context.Context, b object.Bucket) error { return b.Delete(ctx, []object.Ref{{Key: "key"}}) },
	"delete many": func(ctx context.Context, b object.Bucket) error {
		return b.Delete(ctx, []object.Ref{{Key: "key"}, {Key: "other"}})
	},
	"uploads": func(ctx context.Context, b object.Bucket) error { return b.AbortUploads(ctx, "key") },
}

// Each answer of the service becomes an error that says whether it passes, has its class,
// and names the cure.
func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		call, code           string
		status               int
		message              string
		header               string // and its value
		is                   error
		temporary, throttled bool
		after                time.Duration
		says                 string
	}{
		{call: "get", status: 404, code: "NoSuchKey", is: fs.ErrNotExist},
		{call: "stat", status: 404, is: fs.ErrNotExist},
		{call: "list", status: 404, code: "NoSuchKey", says: `there is no bucket "bucket"`},
		{call: "list", status: 404, code: "NotFound", says: "make it with `aws s3 mb s3://bucket`"},
		{call: "list", status: 404, code: "XAdminUserNotFound", is: fs.ErrPermission, says: "the service does not know the credentials; check AWS_ACCESS_KEY_ID"},
		{call: "get", status: 404, code: "NoSuchTenant", message: "No such tenant.", says: "No such tenant; check the name of the bucket, the credentials and AWS_ENDPOINT_URL"},
		{call: "put", status: 404, code: "", says: `there is no bucket "bucket"`},
		{call: "upload", status: 404, code: "NotFound", says: `there is no bucket "bucket"`},
		{call: "uploads", status: 404, code: "NotFound", says: `there is no bucket "bucket"`},
		{call: "put", status: 404, code: "NoSuchBucket", says: `there is no bucket "bucket"; check its name`},
		{call: "get", status: 404, code: "NoSuchBucket", says: `there is no bucket "bucket"; check its name`},
		{call: "put", status: 412, code: "PreconditionFailed", is: object.ErrPrecondition},
		{call: "stat", status: 412, is: object.ErrPrecondition},
		{call: "put", status: 409, code: "ConditionalRequestConflict", temporary: true, says: "another writer"},
		{call: "put", status: 503, code: "SlowDown", temporary: true, throttled: true},
		{call: "stat", status: 503, temporary: true, throttled: true},
		{call: "get", status: 429, code: "TooManyRequests", header: "Retry-After: 7", temporary: true, throttled: true, after: 7 * time.Second},
		{call: "list", status: 503, code: "ServiceUnavailable", header: "Retry-After: 2", temporary: true, throttled: true, after: 2 * time.Second},
		{call: "put", status: 500, code: "InternalError", temporary: true},
		{call: "get", status: 502, code: "", temporary: true},
		{call: "put", status: 400, code: "BadDigest", temporary: true},
		{call: "delete many", status: 400, code: "MalformedXML", temporary: true},
		{call: "put", status: 400, code: "RequestTimeout", temporary: true},
		{call: "put", status: 403, code: "RequestTimeTooSkewed", temporary: true, says: "the clock of this machine differs from that of the service; set it"},
		{call: "put", status: 400, code: "ExpiredToken", is: fs.ErrPermission, says: "the credentials have expired; renew them"},
		{call: "put", status: 403, code: "InvalidAccessKeyId", is: fs.ErrPermission, says: "check AWS_ACCESS_KEY_ID"},
		{call: "put", status: 403, code: "SignatureDoesNotMatch", is: fs.ErrPermission, says: "check AWS_SECRET_ACCESS_KEY or AWS_PROFILE; the credentials come from the program itself"},
		{call: "put", status: 403, code: "AccessDenied", message: "User: arn:aws:iam::1:user/a is not authorized", is: fs.ErrPermission,
			says: "the credentials do not permit s3:PutObject on s3://bucket (User: arn:aws:iam::1:user/a is not authorized)"},
		{call: "get", status: 403, code: "AccessDenied", message: "Access Denied", is: fs.ErrPermission, says: "do not permit s3:GetObject on s3://bucket, or the object is missing and"},
		{call: "stat", status: 403, is: fs.ErrPermission, says: "s3:GetObject"},
		{call: "get", status: 403, code: "InvalidObjectState", message: "The object is archived", says: "403 InvalidObjectState: The object is archived"},
		{call: "list", status: 403, code: "AccessDenied", is: fs.ErrPermission, says: "s3:ListBucket"},
		{call: "delete", status: 403, code: "AccessDenied", is: fs.ErrPermission, says: "s3:DeleteObject"},
		{call: "delete many", status: 403, code: "AccessDenied", is: fs.ErrPermission, says: "s3:DeleteObject"},
		{call: "copy", status: 403, code: "AccessDenied", is: fs.ErrPermission, says: "s3:GetObject and s3:PutObject"},
		{call: "uploads", status: 403, code: "AccessDenied", is: fs.ErrPermission, says: "s3:ListBucketMultipartUploads"},
		{call: "put", status: 301, code: "PermanentRedirect", header: "X-Amz-Bucket-Region: eu-west-1", says: "the bucket is in the region eu-west-1; set AWS_REGION=eu-west-1, or end the URL with ?region=eu-west-1"},
		{call: "stat", status: 301, header: "X-Amz-Bucket-Region: eu-west-1", says: "set AWS_REGION=eu-west-1"},
		{call: "stat", status: 400, header: "X-Amz-Bucket-Region: eu-west-1", says: "set AWS_REGION=eu-west-1"},
		{call: "get", status: 400, code: "AuthorizationHeaderMalformed", message: "the region 'us-east-1' is wrong; expecting 'eu-west-3'", says: "set AWS_REGION=eu-west-3"},
		{call: "put", status: 301, code: "PermanentRedirect", says: "set AWS_REGION or AWS_ENDPOINT_URL"},
		{call: "put", status: 400, code: "InvalidArgument", message: "The argument is bad.", says: "400 InvalidArgument: The argument is bad"},
		{call: "put", status: 501, code: "NotImplemented", message: "A header is not implemented"},
	} {
		t.Run(fmt.Sprintf("%s %d %s", c.call, c.status, c.code), func(t *testing.T) {
			requests := 0
			b := fake(t, func(w http.ResponseWriter, r *http.Request) {
				requests++
				if name, value, ok := strings.Cut(c.header, ": "); ok {
					w.Header().Set(name, value)
				}
				if c.call == "stat" {
					w.WriteHeader(c.status)
					return
				}
				refuse(w, c.status, c.code, c.message)
			})
			err := calls[c.call](t.Context(), b)
			var e *object.Error
			if !errors.As(err, &e) {
				t.Fatalf("got the error %v, want an *object.Error", err)
			}
			if e.Status != c.status || e.Temporary != c.temporary || e.Throttled != c.throttled || e.After != c.after || e.Key != "key" {
				t.Errorf("got %+v, want %+v", *e, c)
			}
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("the error %v does not match %v", err, c.is)
			}
			for _, class := range []error{fs.ErrNotExist, fs.ErrPermission, object.ErrPrecondition} {
				if class != c.is && errors.Is(err, class) {
					t.Errorf("the error %v matches %v", err, class)
				}
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("the error is %q, want a text with %q", err, c.says)
			}
			if requests != 1 {
				t.Errorf("%d requests were made, want one", requests)
			}
		})
	}
}

// A client with retries of its own makes one request all the same.
func TestNoRetries(t *testing.T) {
	requests := 0
	b := fake(t, func(w http.ResponseWriter, r *http.Request) {
		requests++
		refuse(w, 503, "SlowDown", "slow down")
	}, func(o *awss3.Options) { o.RetryMaxAttempts = 5; o.RetryMode = aws.RetryModeAdaptive })
	for name, call := range calls {
		requests = 0
		if err := call(t.Context(), b); err == nil || requests != 1 {
			t.Errorf("%s: %d requests, error %v; want one request and an error", name, requests, err)
		}
	}
}

// A condition that cannot hold, because the object is missing, is ErrPrecondition. A
// service without conditions is named.
func TestRefusedConditions(t *testing.T) {
	status, code := 404, "NoSuchKey"
	b := fake(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.Method == http.MethodPost && r.URL.Query().Has("uploads") {
			io.WriteString(w, `<?xml version="1.0"?><InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>`)
			return
		}
		refuse(w, status, code, "")
	})
	put := func(o object.PutOptions) error {
		_, err := b.Put(t.Context(), "key", nil, o)
		return err
	}
	complete := func(o object.PutOptions) error {
		u, err := b.Upload(t.Context(), "key", 1, o)
		if err != nil {
			t.Fatal(err)
		}
		_, err = u.Complete(t.Context())
		return err
	}
	for name, write := range map[string]func(object.PutOptions) error{"put": put, "complete": complete} {
		status, code = 404, "NoSuchKey"
		if err := write(object.PutOptions{IfVersion: `"1"`}); !errors.Is(err, object.ErrPrecondition) {
			t.Errorf("%s of a version of a missing object: got the error %v", name, err)
		}
		status, code = 404, "NoSuchBucket"
		if err := write(object.PutOptions{IfVersion: `"1"`}); err == nil || errors.Is(err, object.ErrPrecondition) {
			t.Errorf("%s in a missing bucket: got the error %v", name, err)
		}
		status, code = 501, "NotImplemented"
		if err := write(object.PutOptions{IfAbsent: true}); err == nil || !strings.Contains(err.Error(), "cannot write under conditions") {
			t.Errorf("%s without conditions: got the error %v", name, err)
		}
	}
	status, code = 409, "ConditionalRequestConflict"
	if err := complete(object.PutOptions{IfAbsent: true}); !errors.Is(err, object.ErrPrecondition) {
		t.Errorf("a conflict in Complete: got the error %v, want %v", err, object.ErrPrecondition)
	}
	status, code = 404, "NoSuchUpload"
	if err := complete(object.PutOptions{IfVersion: `"1"`}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Complete of an upload that is gone: got the error %v", err)
	}
}

// clean fails the test if a text has a part of the credentials.
func clean(t *testing.T, what, text string) {
	t.Helper()
	for _, secret := range []string{secretID, secretKey, secretToken, url.QueryEscape(secretToken), "AWS4-HMAC-SHA256", "Credential="} {
		if strings.Contains(text, secret) {
			t.Errorf("%s: the error has %q: %s", what, secret, text)
		}
	}
}

// Credentials and what a request is authorized with appear in no error, whatever the
// service answers and wherever the request fails.
func TestSecretsStayOut(t *testing.T) {
	for _, status := range []int{200, 204, 206, 301, 307, 400, 401, 403, 404, 409, 412, 416, 429, 500, 501, 503} {
		for _, code := range []string{"AccessDenied", "InvalidArgument", "SignatureDoesNotMatch", "ExpiredToken", "InvalidAccessKeyId", "InternalError", "NoSuchBucket", "AuthorizationHeaderMalformed", "echo", ""} {
			signature := ""
			b := fake(t, func(w http.ResponseWriter, r *http.Request) {
				a := r.Header.Get("Authorization")
				_, signature, _ = strings.Cut(a, "Signature=")
				said := fmt.Sprintf("got %s and %s from %s?X-Amz-Security-Token=%s&X-Amz-Signature=%s id %s key %s", a, secretToken, "https://user:"+signature+"@host/", url.QueryEscape(secretToken), signature, secretID, r.Header.Get("X-Amz-Security-Token"))
				c := code
				if c == "echo" {
					c = "Bad" + secretID
				}
				w.Header().Set("X-Amz-Bucket-Region", "eu-west-1")
				if status == 301 || status == 307 {
					w.Header().Set("Location", "http://127.0.0.1:1/?X-Amz-Security-Token="+url.QueryEscape(secretToken))
				}
				refuse(w, status, c, said)
			})
			for name, call := range calls {
				err := call(t.Context(), b)
				if err == nil {
					continue
				}
				what := fmt.Sprintf("%s, %d %s", name, status, code)
				clean(t, what, err.Error())
				clean(t, what, fmt.Sprintf("%+v", err))
				if signature != "" && strings.Contains(err.Error(), signature) {
					t.Errorf("%s: the error has the signature: %v", what, err)
				}
			}
		}
	}
	cut := func(w http.ResponseWriter, r *http.Request) {
		conn, _, _ := w.(http.Hijacker).Hijack()
		conn.Close()
	}
	short := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		w.Header().Set("ETag", `"1"`)
		io.WriteString(w, "<Error><Code>"+secretToken)
	}
	noHTTP := func(w http.ResponseWriter, r *http.Request) {
		conn, _, _ := w.(http.Hijacker).Hijack()
		io.WriteString(conn, "SSH-2.0 "+r.Header.Get("Authorization")+"\r\n")
		conn.Close()
	}
	for what, h := range map[string]http.HandlerFunc{"a cut connection": cut, "a short answer": short, "an answer that is no HTTP": noHTTP} {
		b := fake(t, h)
		for name, call := range calls {
			err := call(t.Context(), b)
			if err == nil {
				if name != "get" && name != "delete" && name != "stat" {
					t.Errorf("%s, %s: got no error", what, name)
				}
				continue
			}
			clean(t, what+", "+name, err.Error())
			var e *object.Error
			if !errors.As(err, &e) || !e.Temporary {
				t.Errorf("%s, %s: the error %v is not temporary", what, name, err)
			}
		}
	}
}

// provider makes no credentials, and says a secret.
type provider struct{}

func (provider) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials{}, errors.New("process says " + secretKey)
}

// Where there are no credentials, no request is made, and the error says what to set.
func TestNoCredentials(t *testing.T) {
	b := fake(t, func(http.ResponseWriter, *http.Request) { t.Error("a request was made") }, func(o *awss3.Options) { o.Credentials = provider{} })
	for name, call := range calls {
		err := call(t.Context(), b)
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(fmt.Sprint(err), "set AWS_PROFILE") || !strings.Contains(fmt.Sprint(err), "?anonymous=true") {
			t.Errorf("%s: got the error %v", name, err)
		}
		clean(t, name, fmt.Sprint(err))
	}
}

// A service that is not there is an error that says what to check.
func TestUnreachable(t *testing.T) {
	for endpoint, c := range map[string]struct {
		says      string
		temporary bool
	}{
		"http://127.0.0.1:1":          {"connection refused", true},
		"http://no-such-host.invalid": {"check the name of the bucket, AWS_REGION and AWS_ENDPOINT_URL", false},
	} {
		b := s3.New(awss3.New(awss3.Options{
			BaseEndpoint: &endpoint, UsePathStyle: true, Region: "us-east-1",
			Credentials: credentials.NewStaticCredentialsProvider(secretID, secretKey, secretToken),
		}), "bucket")
		for name, call := range calls {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			err := call(ctx, b)
			cancel()
			var e *object.Error
			if !errors.As(err, &e) || e.Temporary != c.temporary && c.temporary || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %s: got the error %v, want one with %q", endpoint, name, err, c.says)
			}
			clean(t, name, fmt.Sprint(err))
		}
	}
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // of the failed handshake
	secure.StartTLS()
	defer secure.Close()
	b := s3.New(awss3.New(awss3.Options{BaseEndpoint: &secure.URL, UsePathStyle: true, Region: "us-east-1", Credentials: aws.AnonymousCredentials{}}), "bucket")
	if err := calls["list"](t.Context(), b); err == nil || !strings.Contains(err.Error(), "AWS_CA_BUNDLE") {
		t.Errorf("a certificate that is not trusted: got the error %v", err)
	}
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	b = s3.New(awss3.New(awss3.Options{BaseEndpoint: aws.String(strings.Replace(plain.URL, "http:", "https:", 1)), UsePathStyle: true, Region: "us-east-1", Credentials: aws.AnonymousCredentials{}}), "bucket")
	if err := calls["list"](t.Context(), b); err == nil || !strings.Contains(err.Error(), "does not speak TLS") {
		t.Errorf("a service without TLS: got the error %v", err)
	}
}

// A clock that is wrong is corrected by that of the service. If that does not help, the error
// names the clock.
func TestClock(t *testing.T) {
	for _, heals := range []bool{true, false} {
		requests := 0
		b := fake(t, func(w http.ResponseWriter, r *http.Request) {
			requests++
			now := time.Now().Add(time.Hour).UTC()
			w.Header().Set("Date", now.Format(http.TimeFormat))
			at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
			if err != nil || !heals || now.Sub(at).Abs() > 15*time.Minute {
				refuse(w, 403, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.")
				return
			}
			io.WriteString(w, "<ListBucketResult><Name>bucket</Name></ListBucketResult>")
		})
		_, err := object.New(b, object.Options{Patience: time.Second}).List(t.Context(), "")
		switch {
		case heals && (err != nil || requests != 2):
			t.Errorf("%d requests, %v", requests, err)
		case !heals && (err == nil || !strings.Contains(err.Error(), "the clock of this machine differs from that of the service; set it")):
			t.Errorf("got %v", err)
		}
	}
}
