package s3_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/storage/cloud/s3"
	"github.com/go-orbax/orbax/storage/object"
)

// through makes the requests of a client go through f.
func through(f func(*http.Request) (*http.Response, error)) func(*awss3.Options) {
	return func(o *awss3.Options) { o.HTTPClient = doer(f) }
}

type doer func(*http.Request) (*http.Response, error)

func (f doer) Do(r *http.Request) (*http.Response, error) { return f(r) }

// flip is a body with one wrong bit.
type flip struct {
	io.ReadCloser
	at int64
}

func (f *flip) Read(p []byte) (int, error) {
	n, err := f.ReadCloser.Read(p)
	if f.at >= 0 && f.at < int64(n) {
		p[f.at] ^= 4
	}
	f.at -= int64(n)
	return n, err
}

// pattern returns n bytes.
func pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i * i >> 3)
	}
	return p
}

// The service refuses bytes that were damaged on their way, and the error is temporary.
func TestDamagedUpload(t *testing.T) {
	var damage atomic.Bool
	c, name := newBucket(t, through(func(r *http.Request) (*http.Response, error) {
		if damage.Load() && r.Method == http.MethodPut {
			r.Body = &flip{r.Body, 5000}
		}
		return http.DefaultClient.Do(r)
	}))
	b := s3.New(c, name)
	want := pattern(6 << 20)
	damaged := func(what string, err error) {
		t.Helper()
		var e *object.Error
		if !errors.As(err, &e) || !e.Temporary || e.Status != 400 {
			t.Errorf("%s: got the error %v, want a temporary one", what, err)
		}
	}
	damage.Store(true)
	_, err := b.Put(t.Context(), "key", [][]byte{want[:4000], want[4000:]}, object.PutOptions{})
	damaged("Put", err)
	if _, err := b.Stat(t.Context(), "key"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Stat after a refused Put: got the error %v", err)
	}
	u, err := b.Upload(t.Context(), "key", int64(len(want)), object.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	damaged("Part", u.Part(t.Context(), 1, 0, [][]byte{want}))
	damage.Store(false)
	if err := u.Part(t.Context(), 1, 0, [][]byte{want}); err != nil {
		t.Fatal(err)
	}
	if _, err := u.Complete(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if n, _, err := b.Get(t.Context(), "key", "", [][]byte{got}, 0); err != nil || n != len(want) || !bytes.Equal(got, want) {
		t.Errorf("Get: %d bytes, %v", n, err)
	}
}

// cut is a body that fails.
type cut struct {
	io.ReadCloser
	left int
}

func (c *cut) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := c.ReadCloser.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// A Get that fails in the middle says how many bytes it has filled, and of which version.
func TestCutDownload(t *testing.T) {
	const keep = 70_000
	c, name := newBucket(t, through(func(r *http.Request) (*http.Response, error) {
		answer, err := http.DefaultClient.Do(r)
		if err == nil && r.Method == http.MethodGet && answer.StatusCode == http.StatusPartialContent {
			answer.Body = &cut{answer.Body, keep}
		}
		return answer, err
	}))
	b := s3.New(c, name)
	want := pattern(1 << 20)
	made, err := b.Put(t.Context(), "key", [][]byte{want}, object.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got := [][]byte{make([]byte, 50_000), make([]byte, 100_000)}
	n, info, err := b.Get(t.Context(), "key", "", got, 1000)
	var e *object.Error
	if !errors.As(err, &e) || !e.Temporary {
		t.Errorf("got the error %v, want a temporary one", err)
	}
	if n != keep || info.Version != made.Version || info.Size != int64(len(want)) || !bytes.Equal(bytes.Join(got, nil)[:n], want[1000:1000+n]) {
		t.Errorf("got %d bytes of %+v, want %d of %q", n, info, keep, made.Version)
	}
}

// No byte of a body is signed: that would need a pass over it. Each has its CRC32C instead.
func TestRequests(t *testing.T) {
	var mu sync.Mutex
	var puts []http.Header
	c, name := newBucket(t, through(func(r *http.Request) (*http.Response, error) {
		if r.Method == http.MethodPut {
			mu.Lock()
			puts = append(puts, r.Header.Clone())
			mu.Unlock()
		}
		return http.DefaultClient.Do(r)
	}))
	puts = nil
	b := s3.New(c, name)
	want := pattern(5 << 20)
	if _, err := b.Put(t.Context(), "key", [][]byte{want}, object.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	u, err := b.Upload(t.Context(), "key2", -1, object.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(u.Part(t.Context(), 1, 0, [][]byte{want}), u.Abort(t.Context())); err != nil {
		t.Fatal(err)
	}
	for _, h := range puts {
		if h.Get("X-Amz-Content-Sha256") != "UNSIGNED-PAYLOAD" || len(h.Get("X-Amz-Checksum-Crc32c")) != 8 || h.Get("Expect") != "" || h.Get("Content-Length") != "" {
			t.Errorf("the headers are %v", h)
		}
	}
	if len(puts) != 2 {
		t.Errorf("%d requests have a body, want 2", len(puts))
	}
}

// The same holds over TLS, where the client of Amazon would otherwise put a checksum behind
// the body, in pieces of its own.
func TestRequestsOverTLS(t *testing.T) {
	want := pattern(3 << 20)
	puts := 0
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			io.WriteString(w, `<?xml version="1.0"?><InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>`)
			return
		}
		puts++
		got, err := io.ReadAll(r.Body)
		if err != nil || !bytes.Equal(got, want) || r.ContentLength != int64(len(want)) {
			t.Errorf("the body has %d bytes, which differ, %v", len(got), err)
		}
		sum := base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc32.Checksum(want, crc32.MakeTable(crc32.Castagnoli))))
		h := r.Header
		if h.Get("X-Amz-Content-Sha256") != "UNSIGNED-PAYLOAD" || h.Get("X-Amz-Checksum-Crc32c") != sum || h.Get("Content-Encoding") != "" || h.Get("X-Amz-Trailer") != "" || h.Get("Expect") != "" {
			t.Errorf("the headers are %v", h)
		}
		w.Header().Set("ETag", `"1"`)
	}))
	defer server.Close()
	c := awss3.New(awss3.Options{
		BaseEndpoint: &server.URL, UsePathStyle: true, Region: "us-east-1", HTTPClient: server.Client(),
		Credentials: credentials.NewStaticCredentialsProvider(secretID, secretKey, secretToken),
	})
	b := s3.New(c, "bucket")
	if _, err := b.Put(t.Context(), "key", [][]byte{want[:10], want[10:]}, object.PutOptions{IfAbsent: true}); err != nil {
		t.Error(err)
	}
	u, err := b.Upload(t.Context(), "key", -1, object.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Part(t.Context(), 1, 0, [][]byte{want}); err != nil {
		t.Error(err)
	}
	if puts != 2 {
		t.Errorf("%d requests have a body, want 2", puts)
	}
}

// An upload takes its bytes from the buffers of the caller, without copies of them.
func TestUploadDoesNotCopy(t *testing.T) {
	c, name := newBucket(t)
	b := s3.New(c, name)
	const part = 8 << 20
	parts := testenv.Pick(32, 6)
	want := pattern(part)
	upload := func(key string, parts int) {
		u, err := b.Upload(t.Context(), key, int64(parts)*part, object.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var wait sync.WaitGroup
		room := make(chan struct{}, 4)
		for i := range parts {
			room <- struct{}{}
			wait.Go(func() {
				if err := u.Part(t.Context(), i+1, int64(i)*part, [][]byte{want[:part/2], want[part/2:]}); err != nil {
					t.Error(err)
				}
				<-room
			})
		}
		wait.Wait()
		if _, err := u.Complete(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	upload("warm", 4) // opens the connections
	var before, after runtime.MemStats
	cpu := testenv.CPUTime()
	runtime.ReadMemStats(&before)
	upload("key", parts)
	runtime.ReadMemStats(&after)
	taken := after.TotalAlloc - before.TotalAlloc
	t.Logf("%d MiB in %d parts: %d KiB allocated, %v of CPU time", parts*part>>20, parts, taken>>10, testenv.CPUTime()-cpu)
	if most := uint64(parts)*256<<10 + 1<<20; taken > most {
		t.Errorf("an upload of %d MiB has allocated %d bytes, want at most %d", parts*part>>20, taken, most)
	}
	got := make([]byte, part)
	runtime.ReadMemStats(&before)
	if n, _, err := b.Get(t.Context(), "key", "", [][]byte{got}, part); err != nil || n != part || !bytes.Equal(got, want) {
		t.Errorf("Get: %d bytes, %v", n, err)
	}
	runtime.ReadMemStats(&after)
	if taken := after.TotalAlloc - before.TotalAlloc; taken > 1<<20 {
		t.Errorf("a Get of 8 MiB has allocated %d bytes", taken)
	}
}

// When a write has been cancelled, its buffers are the caller's again, although the
// connection may still be reading the body.
func TestCancelledWriteLeavesBuffers(t *testing.T) {
	reading := make(chan struct{})
	release := make(chan struct{})
	var left sync.WaitGroup
	c, name := newBucket(t, through(func(r *http.Request) (*http.Response, error) {
		if r.Method != http.MethodPut || r.Body == nil || r.ContentLength < 1<<20 {
			return http.DefaultClient.Do(r)
		}
		left.Go(func() { // as a connection does, it reads the body after Do has returned
			io.CopyN(io.Discard, r.Body, 1000)
			close(reading)
			<-release
			io.Copy(io.Discard, r.Body)
		})
		<-r.Context().Done()
		return nil, r.Context().Err()
	}))
	b := s3.New(c, name)
	buffer := pattern(2 << 20)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-reading; cancel() }()
	if _, err := b.Put(ctx, "key", [][]byte{buffer}, object.PutOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got the error %v, want %v", err, context.Canceled)
	}
	close(release)
	clear(buffer) // the race detector finds a read at the same time
	left.Wait()
}

// An object that is too large for one copy is copied in parts, with its writer.
func TestCopyInParts(t *testing.T) {
	var mu sync.Mutex
	ranges := 0
	c, name := newBucket(t, through(func(r *http.Request) (*http.Response, error) {
		if r.Method == http.MethodPut && r.Header.Get("X-Amz-Copy-Source") != "" {
			if !r.URL.Query().Has("uploadId") {
				body := "<Error><Code>InvalidRequest</Code><Message>The specified copy source is larger than the maximum allowable size for a copy source: 5368709120</Message></Error>"
				return &http.Response{StatusCode: 400, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r, ContentLength: int64(len(body))}, nil
			}
			mu.Lock()
			ranges++
			mu.Unlock()
		}
		return http.DefaultClient.Do(r)
	}))
	b := s3.NewWithCopyPart(c, name, 5<<20)
	want := pattern(12 << 20)
	from, err := b.Put(t.Context(), "dir/a b+c", [][]byte{want}, object.PutOptions{Writer: "w1"})
	if err != nil {
		t.Fatal(err)
	}
	for to, o := range map[string]object.PutOptions{"to": {}, "to2": {Writer: "w2", IfAbsent: true}} {
		ranges = 0
		info, err := b.Copy(t.Context(), object.Ref{Key: "dir/a b+c", Version: from.Version}, to, o)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want))
		n, stat, err := b.Get(t.Context(), to, info.Version, [][]byte{got}, 0)
		if err != nil || n != len(want) || !bytes.Equal(got, want) || ranges != 3 {
			t.Errorf("Get of the copy: %d bytes, %v, in %d ranges", n, err, ranges)
		}
		if writer := map[string]string{"to": "w1", "to2": "w2"}[to]; stat.Writer != writer {
			t.Errorf("the writer of %s is %q, want %q", to, stat.Writer, writer)
		}
	}
	other, err := b.Put(t.Context(), "dir/a b+c", [][]byte{want[1:]}, object.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Copy(t.Context(), object.Ref{Key: "dir/a b+c", Version: from.Version}, "to3", object.PutOptions{}); !errors.Is(err, object.ErrPrecondition) {
		t.Errorf("Copy of an old version: got the error %v", err)
	}
	if _, err := b.Copy(t.Context(), object.Ref{Key: "dir/a b+c", Version: other.Version}, "to2", object.PutOptions{IfAbsent: true}); !errors.Is(err, object.ErrPrecondition) {
		t.Errorf("Copy over an object: got the error %v", err)
	}
	out, err := c.ListMultipartUploads(t.Context(), &awss3.ListMultipartUploadsInput{Bucket: &name})
	if err != nil || len(out.Uploads) != 0 {
		t.Errorf("uploads are left: %v, %v", out, err)
	}
}

// A call whose service does not answer ends with its context.
func TestStalledService(t *testing.T) {
	stop := make(chan struct{})
	b := fake(t, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-stop:
		case <-r.Context().Done():
		}
	})
	defer close(stop)
	for name, call := range calls {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		started := time.Now()
		err := call(ctx, b)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: got the error %v, want %v", name, err, context.DeadlineExceeded)
		}
		if d := time.Since(started); d > 10*time.Second {
			t.Errorf("%s: returned after %v", name, d)
		}
		clean(t, name, fmt.Sprint(err))
	}
}
