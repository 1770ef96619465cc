package azure_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"

	"github.com/go-orbax/orbax/storage/cloud/azure"
	"github.com/go-orbax/orbax/storage/cloud/internal/servers"
	"github.com/go-orbax/orbax/storage/object"
)

// bare returns a bucket whose client has no credentials but those in the address.
func bare(t testing.TB, address string, transport *http.Client) object.Bucket {
	t.Helper()
	o := &container.ClientOptions{}
	if transport != nil {
		o.Transport = transport
	}
	c, err := container.NewClientWithNoCredential(address, o)
	if err != nil {
		t.Fatal(err)
	}
	return azure.New(c)
}

// sasOf returns a SAS token for a container.
func sasOf(t testing.TB, name string, permissions sas.ContainerPermissions, start, expiry time.Time) string {
	t.Helper()
	key, err := container.NewSharedKeyCredential(servers.AzureAccount, servers.AzureKey)
	if err != nil {
		t.Fatal(err)
	}
	q, err := sas.BlobSignatureValues{
		Protocol: sas.ProtocolHTTPSandHTTP, StartTime: start.UTC(), ExpiryTime: expiry.UTC(),
		ContainerName: name, Permissions: permissions.String(),
	}.SignWithSharedKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return q.Encode()
}

var everything = sas.ContainerPermissions{Read: true, Add: true, Create: true, Write: true, Delete: true, List: true}

// calls are all calls of a bucket, as far as a request. The bucket has an object "key".
var calls = map[string]func(ctx context.Context, b object.Bucket) error{
	"Get": func(ctx context.Context, b object.Bucket) error {
		_, _, err := b.Get(ctx, "key", "", [][]byte{make([]byte, 8)}, 0)
		return err
	},
	"Stat": func(ctx context.Context, b object.Bucket) error { _, err := b.Stat(ctx, "key"); return err },
	"List": func(ctx context.Context, b object.Bucket) error {
		_, err := b.List(ctx, object.ListOptions{})
		return err
	},
	"flat List": func(ctx context.Context, b object.Bucket) error {
		_, err := b.List(ctx, object.ListOptions{Flat: true})
		return err
	},
	"Put": func(ctx context.Context, b object.Bucket) error {
		_, err := b.Put(ctx, "key", [][]byte{[]byte("x")}, object.PutOptions{})
		return err
	},
	"Copy": func(ctx context.Context, b object.Bucket) error {
		_, err := b.Copy(ctx, object.Ref{Key: "key"}, "to", object.PutOptions{})
		return err
	},
	"Delete": func(ctx context.Context, b object.Bucket) error { return b.Delete(ctx, []object.Ref{{Key: "key"}}) },
	"Delete of 2": func(ctx context.Context, b object.Bucket) error {
		return b.Delete(ctx, []object.Ref{{Key: "key"}, {Key: "two"}})
	},
	"Part": func(ctx context.Context, b object.Bucket) error {
		u, err := b.Upload(ctx, "key", 1, object.PutOptions{})
		if err != nil {
			return err
		}
		return u.Part(ctx, 1, 0, [][]byte{[]byte("x")})
	},
	"Complete": func(ctx context.Context, b object.Bucket) error {
		u, err := b.Upload(ctx, "key", 1, object.PutOptions{})
		if err != nil {
			return err
		}
		_, err = u.Complete(ctx)
		return err
	},
	"AbortUploads": func(ctx context.Context, b object.Bucket) error { return b.AbortUploads(ctx, "") },
}

// What can be wrong with the container and the credentials is an error that says what to do.
func TestAdvice(t *testing.T) {
	service, client := newContainer(t, nil)
	name := nameOf(client)
	if _, err := azure.New(client).Put(t.Context(), "key", [][]byte{[]byte("value")}, object.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	wrongKey, err := container.NewSharedKeyCredential(servers.AzureAccount, "d3Jvbmc=")
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := container.NewClientWithSharedKeyCredential(client.URL(), wrongKey, nil)
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		bucket object.Bucket
		call   string
		want   []string
		class  error
	}{
		"no container": {azure.New(keyClient(t, service+"/missing")), "Get",
			[]string{"ContainerNotFound", "no container missing in the account orbaxtest", "az storage container create --account-name orbaxtest --name missing"}, nil},
		"wrong key":      {azure.New(wrong), "List", []string{"not valid", "network rules of the account orbaxtest"}, fs.ErrPermission},
		"no credentials": {bare(t, client.URL(), nil), "Get", []string{"credentials are missing", "Storage Blob Data Reader"}, fs.ErrPermission},
		"token expired": {bare(t, client.URL()+"?"+sasOf(t, name, everything, now.Add(-2*time.Hour), now.Add(-time.Hour)), nil), "Get",
			[]string{"the SAS token has expired at 20", "make a new one"}, fs.ErrPermission},
		"token of tomorrow": {bare(t, client.URL()+"?"+sasOf(t, name, everything, now.Add(24*time.Hour), now.Add(48*time.Hour)), nil), "Get",
			[]string{"the SAS token is valid from 20"}, fs.ErrPermission},
		"token to read": {bare(t, client.URL()+"?"+sasOf(t, name, sas.ContainerPermissions{Read: true, List: true}, now.Add(-time.Hour), now.Add(time.Hour)), nil), "Put",
			[]string{"AuthorizationPermissionMismatch", "Storage Blob Data Contributor", "racwdl"}, fs.ErrPermission},
	} {
		t.Run(what, func(t *testing.T) {
			err := calls[c.call](t.Context(), c.bucket)
			if err == nil {
				t.Fatal("no error")
			}
			t.Log(err)
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the error lacks %q:\n%v", part, err)
				}
			}
			if c.class != nil && !errors.Is(err, c.class) {
				t.Errorf("the error does not match %v:\n%v", c.class, err)
			}
			if what == "no container" && errors.Is(err, fs.ErrNotExist) {
				t.Error("a missing container looks like a missing object")
			}
		})
	}
}

// answering returns a server that gives one answer to everything.
func answering(t *testing.T, status int, header map[string]string, body string) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for k, v := range header {
			w.Header().Set(k, v)
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(s.Close)
	return s
}

func xmlError(code, message string) string {
	return "\xef\xbb\xbf<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>" + code + "</Code><Message>" + message + "\nRequestId:1\nTime:2</Message></Error>"
}

// The answers of the service are described as errors of package object.
func TestAnswers(t *testing.T) {
	early := time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)
	for _, c := range []struct {
		status               int
		code                 string
		header               map[string]string
		temporary, throttled bool
		after                time.Duration
		class                error
		want                 string
	}{
		{503, "ServerBusy", map[string]string{"Retry-After": "7"}, true, true, 7 * time.Second, nil, "the server is busy"},
		{429, "TooManyRequests", map[string]string{"x-ms-retry-after-ms": "250"}, true, true, 250 * time.Millisecond, nil, ""},
		{500, "InternalError", nil, true, false, 0, nil, "(request r1)"},
		{500, "OperationTimedOut", nil, true, false, 0, nil, ""},
		{501, "NotImplemented", nil, false, false, 0, nil, ""},
		{400, "Md5Mismatch", nil, true, false, 0, nil, "damaged"},
		{400, "Crc64Mismatch", nil, true, false, 0, nil, "damaged"},
		{400, "InvalidXmlDocument", nil, true, false, 0, nil, "damaged"},
		{400, "InvalidXmlNodeValue", nil, true, false, 0, nil, "damaged"},
		{400, "MissingRequiredXmlNode", nil, true, false, 0, nil, "damaged"},
		{400, "UnsupportedXmlNode", nil, true, false, 0, nil, "damaged"},
		{400, "", nil, false, false, 0, nil, ""}, // such as that of a server that wants TLS
		{400, "InvalidHeaderValue", nil, false, false, 0, nil, "the server is busy (request r1)"},
		{404, "BlobNotFound", nil, false, false, 0, fs.ErrNotExist, ""},
		{404, "CannotVerifyCopySource", nil, false, false, 0, fs.ErrNotExist, ""},
		{403, "CannotVerifyCopySource", nil, false, false, 0, fs.ErrPermission, "Storage Blob Data"},
		{404, "", nil, false, false, 0, nil, "there is no container box in the account orbaxtest; make it with"},
		{302, "", nil, false, false, 0, nil, "the service sends the request to another address"},
		{409, "BlobAlreadyExists", nil, false, false, 0, object.ErrPrecondition, ""},
		{412, "ConditionNotMet", nil, false, false, 0, object.ErrPrecondition, ""},
		{412, "SourceConditionNotMet", nil, false, false, 0, object.ErrPrecondition, ""},
		{412, "LeaseIdMissing", nil, false, false, 0, fs.ErrPermission, "holds a lease"},
		{409, "BlobArchived", nil, false, false, 0, nil, "archive tier"},
		{409, "BlobImmutableDueToPolicy", nil, false, false, 0, fs.ErrPermission, "policy"},
		{409, "PublicAccessNotPermitted", nil, false, false, 0, fs.ErrPermission, "no credentials"},
		{403, "AuthenticationFailed", map[string]string{"Date": early}, false, false, 0, fs.ErrPermission, "set the clock"},
		{403, "AuthenticationFailed", nil, false, false, 0, fs.ErrPermission, "not valid for the account orbaxtest"},
		{403, "AuthorizationFailure", nil, false, false, 0, fs.ErrPermission, "network rules"},
		{403, "KeyBasedAuthenticationNotPermitted", nil, false, false, 0, fs.ErrPermission, "az login"},
		{401, "NoAuthenticationInformation", nil, false, false, 0, fs.ErrPermission, "AZURE_STORAGE_KEY"},
	} {
		t.Run(fmt.Sprint(c.status, c.code, c.want), func(t *testing.T) {
			header := map[string]string{"x-ms-request-id": "r1", "Content-Type": "application/xml"}
			if c.code != "" {
				header["x-ms-error-code"] = c.code
			}
			for k, v := range c.header {
				header[k] = v
			}
			s := answering(t, c.status, header, xmlError(c.code, "the server is busy"))
			b := bare(t, s.URL+"/orbaxtest/box", nil)
			_, err := b.Put(t.Context(), "dir/key", [][]byte{[]byte("x")}, object.PutOptions{IfAbsent: true})
			var e *object.Error
			if !errors.As(err, &e) {
				t.Fatalf("got %T %v", err, err)
			}
			if e.Status != c.status || e.Code != c.code || e.Op != "put" || e.Key != "dir/key" {
				t.Errorf("got %+v", e)
			}
			if e.Temporary != c.temporary || e.Throttled != c.throttled || e.After != c.after {
				t.Errorf("temporary %v, throttled %v, after %v", e.Temporary, e.Throttled, e.After)
			}
			for _, class := range []error{fs.ErrNotExist, object.ErrPrecondition, fs.ErrPermission} {
				if errors.Is(err, class) != (class == c.class) {
					t.Errorf("the error matches %v: %v; want %v", class, errors.Is(err, class), class == c.class)
				}
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error lacks %q: %v", c.want, err)
			}
			if n := strings.Count(err.Error(), "\n"); n > 0 {
				t.Errorf("the error has %d line ends: %q", n, err)
			}
		})
	}
}

// A connection that breaks is a temporary error, and an account that does not exist is none.
func TestBroken(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }))
	defer s.Close()
	closed := httptest.NewServer(nil)
	closed.Close()
	half := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "8")
		w.Header().Set("Etag", `"v1"`)
		w.Write([]byte("half"))
	}))
	defer half.Close()
	for what, address := range map[string]string{"cut": s.URL, "closed": closed.URL, "half": half.URL} {
		p := make([]byte, 8)
		n, info, err := bare(t, address+"/orbaxtest/box", nil).Get(t.Context(), "key", "", [][]byte{p}, 0)
		var e *object.Error
		if !errors.As(err, &e) || !e.Temporary || e.Throttled {
			t.Errorf("%s: got %+v", what, err)
		}
		if what == "half" && (n != 4 || string(p[:n]) != "half" || info.Version != "v1") {
			t.Errorf("%s: got %d bytes of version %q", what, n, info.Version)
		}
	}
	for what, header := range map[string]map[string]string{
		"no ETag":       {"Content-Range": "bytes 4-7/8"},
		"another range": {"Content-Range": "bytes 0-3/8", "Etag": "v1"},
		"no range":      {"Etag": "v1"},
		"odd range":     {"Content-Range": "4-7/8", "Etag": "v1"},
		"no size":       {"Content-Range": "bytes 4-7/*", "Etag": "v1"},
	} {
		n, _, err := bare(t, answering(t, http.StatusPartialContent, header, "half").URL+"/orbaxtest/box", nil).Get(t.Context(), "key", "", [][]byte{make([]byte, 4)}, 4)
		if err == nil || n != 0 {
			t.Errorf("%s: got %d bytes, %v", what, n, err)
		}
	}
	_, err := bare(t, "https://orbaxtest.invalid/box", nil).Stat(t.Context(), "key")
	var e *object.Error
	if !errors.As(err, &e) || e.Temporary || !strings.Contains(err.Error(), "no account orbaxtest") {
		t.Errorf("no host: got %v", err)
	}
}

// An identity that gives no token, and one that would go over an open line, are errors that
// last.
func TestNoToken(t *testing.T) {
	for what, c := range map[string]struct {
		address  string
		identity azcore.TokenCredential
		want     string
	}{
		"gone":      {"https://127.0.0.1:1/orbaxtest/box", goneIdentity{}, "no login"},
		"open line": {"http://127.0.0.1:1/orbaxtest/box", fixedToken("token"), "https"},
	} {
		client, err := container.NewClient(c.address, c.identity, nil)
		if err != nil {
			t.Fatal(err)
		}
		var e *object.Error
		if _, err := azure.New(client).Stat(t.Context(), "key"); !errors.As(err, &e) || e.Temporary || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

// lines returns every text in an error.
func lines(err error) string {
	text := fmt.Sprintf("%v\n%+v\n%#v\n", err, err, err)
	var e *object.Error
	if errors.As(err, &e) {
		text += e.Message + "\n" + e.Code + "\n"
	}
	return text
}

// No error has a key, a token or a signature, whatever the service answers.
func TestSecrets(t *testing.T) {
	const key, token = "c2VjcmV0LWtleS1vZi10aGUtYWNjb3VudA==", "eyJhbGciOiJub25lIn0.c2VjcmV0.token"
	const signature = "c2VjcmV0+c2ln/bmF0dXJl="
	const query = "sv=2024-11-04&se=2099-01-01T00%3A00%3A00Z&sr=c&sp=racwdl&sig=c2VjcmV0%2Bc2ln%2FbmF0dXJl%3D"
	secrets := []string{key, token, signature, "c2VjcmV0%2Bc2ln%2FbmF0dXJl%3D", "c2VjcmV0", query}

	echo := func(status int, code string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/xml")
			w.Header().Set("x-ms-request-id", r.Header.Get("Authorization")+" sig="+r.URL.Query().Get("sig"))
			if code != "" {
				w.Header().Set("x-ms-error-code", code)
			}
			w.WriteHeader(status)
			said := r.URL.String() + " " + r.Header.Get("Authorization") + " https://x.blob.core.windows.net/a?" + r.URL.RawQuery + " sig=" + r.URL.Query().Get("sig") + " " + r.URL.Query().Get("sig")
			fmt.Fprint(w, xmlError(code, strings.NewReplacer("&", "&amp;", "<", "&lt;").Replace(said)))
		}
	}
	handlers := map[string]http.HandlerFunc{
		"cut":      func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"nonsense": func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.String(), r.Header) },
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/?"+r.URL.RawQuery, http.StatusFound)
		},
		"no XML": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/xml")
			fmt.Fprint(w, "<"+r.URL.String())
		},
		"hijack": func(w http.ResponseWriter, r *http.Request) {
			c, _, _ := w.(http.Hijacker).Hijack()
			fmt.Fprintf(c, "HTTP/1.1 %s\r\n\r\n", r.URL)
			c.Close()
		},
	}
	for _, status := range []int{300, 400, 401, 403, 404, 409, 412, 416, 429, 500, 503} {
		for _, code := range []string{"", "AuthenticationFailed", "AuthorizationFailure", "InvalidQueryParameterValue", "ServerBusy", "InvalidRange", "ContainerNotFound", "InvalidBlockList"} {
			handlers[fmt.Sprint(status, code)] = echo(status, code)
		}
	}
	for what, handler := range handlers {
		t.Run(what, func(t *testing.T) {
			s := httptest.NewUnstartedServer(handler)
			s.Config.ErrorLog = log.New(io.Discard, "", 0)
			s.StartTLS()
			defer s.Close()
			client := s.Client()
			o := &container.ClientOptions{}
			o.Transport = client
			shared, err := container.NewSharedKeyCredential("orbaxtest", key)
			if err != nil {
				t.Fatal(err)
			}
			withKey, err := container.NewClientWithSharedKeyCredential(s.URL+"/orbaxtest/box", shared, o)
			if err != nil {
				t.Fatal(err)
			}
			withToken, err := container.NewClient(s.URL+"/orbaxtest/box", fixedToken(token), o)
			if err != nil {
				t.Fatal(err)
			}
			for how, b := range map[string]object.Bucket{
				"key": azure.New(withKey), "identity": azure.New(withToken),
				"SAS token":                    bare(t, s.URL+"/orbaxtest/box?"+query, client),
				"SAS token, wrong certificate": bare(t, s.URL+"/orbaxtest/box?"+query, nil),
			} {
				for call, do := range calls {
					err := do(t.Context(), b)
					if err == nil {
						continue
					}
					text := lines(err)
					for _, secret := range secrets {
						if strings.Contains(text, secret) {
							t.Errorf("%s with %s: the error has %q:\n%s", call, how, secret, text)
						}
					}
				}
			}
		})
	}
}
