package azure_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/storage/cloud/azure"
	"github.com/go-orbax/orbax/storage/cloud/internal/servers"
	"github.com/go-orbax/orbax/storage/object"
)

// blocksOf returns how many blocks of a key are not committed.
func blocksOf(t *testing.T, c *container.Client, key string) int {
	t.Helper()
	r, err := c.NewBlockBlobClient(key).GetBlockList(t.Context(), blockblob.BlockListTypeUncommitted, nil)
	if bloberror.HasCode(err, bloberror.BlobNotFound) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	return len(r.UncommittedBlocks)
}

func begin(t *testing.T, b object.Bucket, key string, parts ...string) object.Upload {
	t.Helper()
	u, err := b.Upload(t.Context(), key, -1, object.PutOptions{IfAbsent: true})
	if err != nil {
		t.Fatal(err)
	}
	off := 0
	for i, p := range parts {
		if err := u.Part(t.Context(), i+1, int64(off), [][]byte{[]byte(p)}); err != nil {
			t.Fatal(err)
		}
		off += len(p)
	}
	return u
}

// Abort removes the blocks of its upload, and leaves those of another one to the same key.
func TestAbort(t *testing.T) {
	_, client := newContainer(t, nil)
	b := azure.New(client)
	alone := begin(t, b, "alone", "a", "b")
	if n := blocksOf(t, client, "alone"); n != 2 {
		t.Fatalf("%d blocks before Abort", n)
	}
	if err := alone.Abort(t.Context()); err != nil {
		t.Error(err)
	}
	if n := blocksOf(t, client, "alone"); n != 0 {
		t.Errorf("%d blocks are left after Abort", n)
	}

	mine, other := begin(t, b, "two", "mine"), begin(t, b, "two", "other")
	if err := mine.Abort(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := other.Complete(t.Context()); err != nil {
		t.Errorf("the abort of another upload has removed blocks of this one: %v", err)
	}
	p := make([]byte, 10)
	if n, _, err := b.Get(t.Context(), "two", "", [][]byte{p}, 0); err != nil || string(p[:n]) != "other" {
		t.Errorf("got %q, %v", p[:n], err)
	}

	begin(t, b, "dead/a", "x", "y")
	begin(t, b, "dead/b", "x")
	if _, err := b.Put(t.Context(), "dead/empty", nil, object.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	begin(t, b, "alive/a", "x")
	if err := b.AbortUploads(t.Context(), "dead/"); err != nil {
		t.Error(err)
	}
	if n := blocksOf(t, client, "dead/a") + blocksOf(t, client, "dead/b"); n != 0 {
		t.Errorf("%d blocks are left after AbortUploads", n)
	}
	if n := blocksOf(t, client, "alive/a"); n != 1 {
		t.Errorf("%d blocks are left of an upload that AbortUploads must not end", n)
	}
	page, err := b.List(t.Context(), object.ListOptions{Flat: true})
	if err != nil || len(page.Objects) != 2 {
		t.Errorf("%d objects are left: %+v, %v", len(page.Objects), page, err)
	}
}

// The service refuses an upload whose blocks another writer of the key has dropped.
func TestLostBlocks(t *testing.T) {
	_, client := newContainer(t, nil)
	b := azure.New(client)
	for _, o := range []object.PutOptions{{IfAbsent: true}, {}} {
		u, err := b.Upload(t.Context(), "key", -1, o)
		if err != nil {
			t.Fatal(err)
		}
		if err := u.Part(t.Context(), 1, 0, [][]byte{[]byte("mine")}); err != nil {
			t.Fatal(err)
		}
		other, err := b.Upload(t.Context(), "key", -1, object.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := other.Part(t.Context(), 1, 0, [][]byte{[]byte("other")}); err != nil {
			t.Fatal(err)
		}
		if _, err := other.Complete(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err = u.Complete(t.Context())
		if err == nil || errors.Is(err, object.ErrPrecondition) != o.IfAbsent {
			t.Fatalf("%+v: got %v", o, err)
		}
		if !o.IfAbsent && !strings.Contains(err.Error(), "another writer") {
			t.Errorf("got %v", err)
		}
		p := make([]byte, 10)
		if n, _, err := b.Get(t.Context(), "key", "", [][]byte{p}, 0); err != nil || string(p[:n]) != "other" {
			t.Errorf("got %q, %v", p[:n], err)
		}
	}
}

// flipping is an HTTP client that flips a bit of the body of one request: the next one whose
// body is XML.
type flipping struct{ at int } // of the byte; -1: no more

func (f *flipping) Do(r *http.Request) (*http.Response, error) {
	if f.at >= 0 && strings.Contains(r.Header.Get("Content-Type"), "xml") {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		text[min(f.at, len(text)-1)] ^= 1
		r.Body, f.at = io.NopCloser(bytes.NewReader(text)), -1
	}
	return http.DefaultClient.Do(r)
}

// A list of blocks that the service refuses, because it was damaged on its way, is sent again.
func TestDamagedBlockList(t *testing.T) {
	_, client := newContainer(t, nil)
	key, err := container.NewSharedKeyCredential(servers.AzureAccount, servers.AzureKey)
	if err != nil {
		t.Fatal(err)
	}
	network := &flipping{at: -1}
	c, err := container.NewClientWithSharedKeyCredential(client.URL(), key, &container.ClientOptions{ClientOptions: azcore.ClientOptions{Transport: network}})
	if err != nil {
		t.Fatal(err)
	}
	b := azure.New(c)
	refused := 0
	for at := range 140 {
		name := fmt.Sprint("key", at)
		u := begin(t, b, name, "one", "two")
		network.at = at
		_, err := u.Complete(t.Context())
		if err == nil {
			continue // the service does not mind
		}
		refused++
		var e *object.Error
		if !errors.As(err, &e) || !e.Temporary {
			t.Fatalf("byte %d is damaged: %v, which is not temporary", at, err)
		}
		if _, err := u.Complete(t.Context()); err != nil {
			t.Fatalf("byte %d is damaged: again: %v", at, err)
		}
		p := make([]byte, 10)
		if n, _, err := b.Get(t.Context(), name, "", [][]byte{p}, 0); err != nil || string(p[:n]) != "onetwo" {
			t.Fatalf("byte %d is damaged: there is %q, %v", at, p[:n], err)
		}
	}
	if refused == 0 {
		t.Error("the service accepts all damage")
	}
	begin(t, b, "dead", "one") // the recovery drops the block by a list without blocks
	network.at = 0
	err = b.AbortUploads(t.Context(), "dead")
	var e *object.Error
	if !errors.As(err, &e) || !e.Temporary {
		t.Errorf("AbortUploads with damage: %v, which is not temporary", err)
	}
	if err := b.AbortUploads(t.Context(), "dead"); err != nil || blocksOf(t, client, "dead") > 0 {
		t.Errorf("AbortUploads again: %v, or a block is left", err)
	}
}

// A key that Azure would change is refused.
func TestReservedKeys(t *testing.T) {
	b := bare(t, "http://127.0.0.1:1/orbaxtest/box", nil) // no request is sent
	for _, key := range []string{"a.", "dir./a", "dir/..", `a\b`, "a\nb", "a\x7f", "."} {
		_, put := b.Put(t.Context(), key, nil, object.PutOptions{})
		_, upload := b.Upload(t.Context(), key, 1, object.PutOptions{})
		_, cp := b.Copy(t.Context(), object.Ref{Key: "a"}, key, object.PutOptions{})
		for _, err := range []error{put, upload, cp} {
			if !errors.Is(err, fault.ErrReservedName) {
				t.Errorf("%q: got %v", key, err)
			}
		}
	}
}

// An upload sends the memory of the caller itself: it does not copy it.
func TestUploadDoesNotCopy(t *testing.T) {
	testenv.NeedLong(t, "an upload of 256 MiB")
	_, client := newContainer(t, nil)
	b := azure.New(client)
	const part, parts = 8 << 20, 32
	state := make([]byte, part) // every part is this memory
	for i := range state {
		state[i] = byte(i * 7)
	}
	u, err := b.Upload(t.Context(), "big", part*parts, object.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var wait sync.WaitGroup
	room := make(chan struct{}, 4)
	errs := make([]error, parts)
	for i := range parts {
		room <- struct{}{}
		wait.Go(func() {
			errs[i] = u.Part(t.Context(), i+1, int64(i*part), [][]byte{state[:part/2], state[part/2:]})
			<-room
		})
	}
	wait.Wait()
	runtime.ReadMemStats(&after)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	info, err := u.Complete(t.Context())
	if err != nil || info.Size != part*parts {
		t.Fatalf("got %+v, %v", info, err)
	}
	allocated := int64(after.TotalAlloc - before.TotalAlloc)
	t.Logf("%d KiB were allocated for %d MiB", allocated>>10, part*parts>>20)
	if allocated > 8<<20 {
		t.Errorf("%d MiB were allocated for an upload of %d MiB", allocated>>20, part*parts>>20)
	}
	before = after
	runtime.ReadMemStats(&before)
	got := make([]byte, part)
	for i := range 4 {
		if n, _, err := b.Get(t.Context(), "big", info.Version, [][]byte{got}, int64(i*part)); err != nil || n != part || string(got) != string(state) {
			t.Fatalf("part %d: %d bytes, %v", i, n, err)
		}
	}
	runtime.ReadMemStats(&after)
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 8<<20+part { // got itself counts
		t.Errorf("%d MiB were allocated for %d MiB that were read", allocated>>20, 4*part>>20)
	}
}

// keeping is an HTTP client that answers before it has read the body, as a connection may.
type keeping struct{ bodies []io.ReadCloser }

func (k *keeping) Do(r *http.Request) (*http.Response, error) {
	k.bodies = append(k.bodies, r.Body)
	return nil, io.ErrUnexpectedEOF
}

// A connection that reads on after a call has returned gets no bytes of the caller's memory.
func TestBodyAfterwards(t *testing.T) {
	k := &keeping{}
	client, err := container.NewClientWithNoCredential("http://127.0.0.1:1/orbaxtest/box", &container.ClientOptions{ClientOptions: azcore.ClientOptions{Transport: k}})
	if err != nil {
		t.Fatal(err)
	}
	for _, call := range []string{"Put", "Part"} {
		if err := calls[call](t.Context(), azure.New(client)); err == nil {
			t.Errorf("%s got no error", call)
		}
	}
	if len(k.bodies) != 2 {
		t.Fatalf("%d requests have a body, want 2", len(k.bodies))
	}
	for _, body := range k.bodies {
		if text, err := io.ReadAll(body); err == nil || len(text) > 0 {
			t.Errorf("a body gives %d bytes and the error %v after the call", len(text), err)
		}
	}
}
