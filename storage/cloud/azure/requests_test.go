package azure_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"

	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/storage/cloud/azure"
	"github.com/go-orbax/orbax/storage/cloud/internal/servers"
	"github.com/go-orbax/orbax/storage/object"
)

// counting is an HTTP client that counts requests, fails those that fail selects, and may
// damage what it sends.
type counting struct {
	n      atomic.Int64
	fail   func(r *http.Request) bool
	damage bool
}

func (c *counting) Do(r *http.Request) (*http.Response, error) {
	c.n.Add(1)
	if c.fail != nil && c.fail(r) {
		return &http.Response{StatusCode: http.StatusServiceUnavailable, Status: "503", Body: http.NoBody, Request: r,
			Header: http.Header{"X-Ms-Error-Code": {"ServerBusy"}, "Retry-After": {"3"}}}, nil
	}
	if c.damage {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		text[0] ^= 1
		r.Body = io.NopCloser(bytes.NewReader(text))
	}
	return http.DefaultClient.Do(r)
}

// counted returns a bucket over a new container, and the counter of its requests. The client
// is one that tries again, as a program may have it.
func counted(t *testing.T) (object.Bucket, *counting) {
	t.Helper()
	_, made := newContainer(t, nil)
	key, err := container.NewSharedKeyCredential(servers.AzureAccount, servers.AzureKey)
	if err != nil {
		t.Fatal(err)
	}
	c := &counting{}
	client, err := container.NewClientWithSharedKeyCredential(made.URL(), key, &container.ClientOptions{ClientOptions: azcore.ClientOptions{Transport: c}})
	if err != nil {
		t.Fatal(err)
	}
	return azure.New(client), c
}

// Each call sends as many requests as it needs.
func TestRequests(t *testing.T) {
	b, c := counted(t)
	ctx := t.Context()
	info, err := b.Put(ctx, "dir/key", [][]byte{make([]byte, 1000)}, object.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var refs []object.Ref
	for i := range testenv.Pick(257, 3) {
		refs = append(refs, object.Ref{Key: fmt.Sprint("dir/missing", i)})
	}
	var u object.Upload
	for _, call := range []struct {
		what string
		want int64
		do   func() error
	}{
		{"Get", 1, func() error {
			_, _, err := b.Get(ctx, "dir/key", info.Version, [][]byte{make([]byte, 100), make([]byte, 5000)}, 5)
			return err
		}},
		{"Get behind the end", 2, func() error { _, _, err := b.Get(ctx, "dir/key", "", [][]byte{make([]byte, 100)}, 5000); return err }},
		{"Get of nothing", 1, func() error { _, _, err := b.Get(ctx, "dir/key", "", nil, 0); return err }},
		{"Stat", 1, func() error { _, err := b.Stat(ctx, "dir/key"); return err }},
		{"List", 1, func() error { _, err := b.List(ctx, object.ListOptions{Prefix: "dir/"}); return err }},
		{"Put", 1, func() error { _, err := b.Put(ctx, "x", nil, object.PutOptions{}); return err }},
		{"Copy", 1, func() error { _, err := b.Copy(ctx, object.Ref{Key: "dir/key"}, "y", object.PutOptions{}); return err }},
		{"Delete", 1, func() error { return b.Delete(ctx, []object.Ref{{Key: "y"}}) }},
		{"Delete of 2", 1, func() error { return b.Delete(ctx, refs[:2]) }},
		{"Delete of more than a batch", testenv.Pick[int64](2, 1), func() error { return b.Delete(ctx, refs) }},
		{"Delete of none", 0, func() error { return b.Delete(ctx, nil) }},
		{"Upload", 0, func() (err error) { u, err = b.Upload(ctx, "up", 10, object.PutOptions{}); return err }},
		{"Part", 1, func() error { return u.Part(ctx, 1, 0, [][]byte{[]byte("0123456789")}) }},
		{"Complete", 1, func() error { _, err := u.Complete(ctx); return err }},
		{"Complete again", 0, func() error { _, err := u.Complete(ctx); return err }},
		{"Abort after Complete", 0, func() error { return u.Abort(ctx) }},
	} {
		before := c.n.Load()
		if err := call.do(); err != nil {
			t.Errorf("%s: %v", call.what, err)
		}
		if n := c.n.Load() - before; n != call.want {
			t.Errorf("%s sent %d requests, want %d", call.what, n, call.want)
		}
	}
}

// A request that fails is not tried again, whatever the client would do.
func TestNoRetries(t *testing.T) {
	b, c := counted(t)
	c.fail = func(*http.Request) bool { return true }
	for name, call := range calls {
		before := c.n.Load()
		if err := call(t.Context(), b); err == nil {
			t.Errorf("%s got no error", name)
		}
		if n := c.n.Load() - before; n != 1 {
			t.Errorf("%s sent %d requests after a failure, want 1", name, n)
		}
	}
}

// A batch whose answer cannot be read is an error, also where the client would panic.
func TestBadBatch(t *testing.T) {
	for what, body := range map[string]string{
		"no parts":      "--x--\r\n",
		"nothing":       "",
		"odd id":        "--x\r\nContent-Type: application/http\r\nContent-ID: 99\r\n\r\nHTTP/1.1 202 Accepted\r\n\r\n\r\n--x--\r\n",
		"negative id":   "--x\r\nContent-Type: application/http\r\nContent-ID: -1\r\n\r\nHTTP/1.1 404 Missing\r\n\r\n\r\n--x--\r\n",
		"no id":         "--x\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 202 Accepted\r\n\r\n\r\n--x\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 500 Bad\r\n\r\n\r\n--x--\r\n",
		"not an answer": "--x\r\nContent-Type: application/http\r\nContent-ID: 0\r\n\r\nhello\r\n--x--\r\n",
	} {
		s := answering(t, http.StatusAccepted, map[string]string{"Content-Type": "multipart/mixed; boundary=x"}, body)
		if err := calls["Delete of 2"](t.Context(), bare(t, s.URL+"/orbaxtest/box", nil)); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}

// A batch reports the error of one of its deletions.
func TestBatchFails(t *testing.T) {
	_, made := newContainer(t, nil)
	token := sasOf(t, nameOf(made), sas.ContainerPermissions{Read: true, List: true}, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	if _, err := azure.New(made).Put(t.Context(), "key", nil, object.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := calls["Delete of 2"](t.Context(), bare(t, made.URL()+"?"+token, nil)); err == nil {
		t.Error("a deletion with a token to read got no error")
	}
	if _, err := azure.New(made).Stat(t.Context(), "key"); err != nil {
		t.Error(err)
	}
}
