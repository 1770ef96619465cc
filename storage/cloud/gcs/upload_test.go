package gcs_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/storage/cloud/gcs"
	"github.com/go-orbax/orbax/storage/object"
)

// uploads returns how many uploads have parts, which are objects in a temporary directory.
func uploads(t *testing.T, b object.Bucket) int {
	t.Helper()
	dirs := map[string]bool{}
	for _, key := range keys(t, b) {
		if strings.Contains(path.Dir(key), ".orbax-upload-") {
			dirs[path.Dir(key)] = true
		}
	}
	return len(dirs)
}

// keys returns the keys of all objects.
func keys(t *testing.T, b object.Bucket) (all []string) {
	t.Helper()
	for token := ""; ; {
		page, err := gcs.ListAll(t.Context(), b, object.ListOptions{Flat: true, Token: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Objects {
			all = append(all, o.Key)
		}
		if token = page.Next; token == "" {
			return all
		}
	}
}

// get returns the bytes of an object of at most n bytes.
func get(t *testing.T, b object.Bucket, key string, n int) []byte {
	t.Helper()
	p := make([]byte, n+1)
	n, _, err := b.Get(t.Context(), key, "", [][]byte{p}, 0)
	if err != nil {
		t.Fatal(err)
	}
	return p[:n]
}

// random returns n bytes.
func random(n int) []byte {
	p := make([]byte, n)
	r := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}

// Any number of parts becomes one object, in as few requests as there are stages.
func TestManyParts(t *testing.T) {
	for _, c := range []struct{ parts, composed int }{
		{0, 0}, {1, 1}, {2, 1}, {32, 1}, {33, 3}, {testenv.Pick(1024, 70), testenv.Pick(33, 4)}, {testenv.Pick(1057, 97), testenv.Pick(37, 5)},
	} {
		count := &counter{}
		b := newBucket(t, &http.Client{Transport: count})
		want := random(c.parts * 10)
		u, err := b.Upload(t.Context(), "dir/key", int64(len(want)), object.PutOptions{IfAbsent: true, Writer: "w9"})
		if err != nil {
			t.Fatal(err)
		}
		var wait sync.WaitGroup
		for i := range c.parts {
			// Numbers may be left out.
			wait.Go(func() {
				if err := u.Part(t.Context(), 3*i+2, int64(10*i), [][]byte{want[10*i : 10*i+3], want[10*i+3 : 10*i+10]}); err != nil {
					t.Error(err)
				}
			})
			if i%16 == 15 {
				wait.Wait()
			}
		}
		wait.Wait()
		if c.parts > 0 && uploads(t, b) != 1 {
			t.Errorf("%d parts: %d uploads have parts before the end, want 1", c.parts, uploads(t, b))
		}
		info, err := u.Complete(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if stat, err := b.Stat(t.Context(), "dir/key"); err != nil || stat.Version != info.Version || stat.Writer != "w9" || info.Writer != "w9" || info.Size != int64(len(want)) {
			t.Errorf("%d parts: Complete returned %+v, Stat %+v, %v", c.parts, info, stat, err)
		}
		if got := get(t, b, "dir/key", len(want)); !bytes.Equal(got, want) {
			t.Errorf("%d parts: the object has %d bytes that differ from the %d of the parts", c.parts, len(got), len(want))
		}
		if all := keys(t, b); !slices.Equal(all, []string{"dir/key"}) {
			t.Errorf("%d parts: the bucket has %d keys after Complete: %.200q", c.parts, len(all), all)
		}
		if n := count.of("/compose"); n != c.composed {
			t.Errorf("%d parts: %d requests compose, want %d", c.parts, n, c.composed)
		}
	}
}

// A part that is not where the one before it ends is an error, and so is a number that is
// none.
func TestWrongParts(t *testing.T) {
	b := newBucket(t, nil)
	u, err := b.Upload(t.Context(), "key", 10, object.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, number := range []int{0, -1, b.Limits().MaxParts + 1} {
		if err := u.Part(t.Context(), number, 0, [][]byte{{1}}); err == nil {
			t.Errorf("part %d got no error", number)
		}
	}
	for number, off := range map[int]int64{1: 0, 2: 2} {
		if err := u.Part(t.Context(), number, off, [][]byte{{1}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := u.Complete(t.Context()); err == nil {
		t.Error("Complete with a gap between the parts got no error")
	}
	if err := u.Abort(t.Context()); err != nil || len(keys(t, b)) != 0 {
		t.Errorf("Abort: %v; left are %q", err, keys(t, b))
	}
}

// A part key fits into what the service allows, for each key that fits.
func TestLongKeys(t *testing.T) {
	for _, key := range []string{strings.Repeat("k", 1024), "d/" + strings.Repeat("é", 511), strings.Repeat("d", 500) + "/" + strings.Repeat("k", 500)} {
		b := newBucket(t, nil)
		u, err := b.Upload(t.Context(), key, 1, object.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := u.Part(t.Context(), 32768, 0, [][]byte{{7}}); err != nil {
			t.Fatal(err)
		}
		if all := keys(t, b); len(all) != 1 || len(all[0]) > 1024 || strings.ToValidUTF8(all[0], "?") != all[0] || uploads(t, b) != 1 {
			t.Errorf("the keys of the parts are %q", all)
		}
		if _, err := u.Complete(t.Context()); err != nil {
			t.Error(err)
		}
		if all := keys(t, b); !slices.Equal(all, []string{key}) {
			t.Errorf("got the keys %q", all)
		}
	}
}

// If the answer to Complete is lost, another call finds that the object is made.
func TestLostAnswer(t *testing.T) {
	for name, o := range map[string]object.PutOptions{"new": {IfAbsent: true}, "replaced": {IfVersion: "old"}, "any": {}} {
		lose := &loser{}
		b := newBucket(t, &http.Client{Transport: lose})
		if o.IfVersion != "" {
			info, err := b.Put(t.Context(), "key", [][]byte{{1}}, object.PutOptions{})
			if err != nil {
				t.Fatal(err)
			}
			o.IfVersion = info.Version
		}
		u, err := b.Upload(t.Context(), "key", 1, o)
		if err != nil {
			t.Fatal(err)
		}
		if err := u.Part(t.Context(), 1, 0, [][]byte{{7}}); err != nil {
			t.Fatal(err)
		}
		for _, lost := range []string{"/compose", "?"} { // the answer, and that to the deletion of the part
			lose.next(lost)
			if _, err := u.Complete(t.Context()); err == nil {
				t.Errorf("%s: Complete without an answer got no error", name)
			}
		}
		info, err := u.Complete(t.Context())
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if stat, err := b.Stat(t.Context(), "key"); err != nil || stat.Version != info.Version || stat.Size != 1 {
			t.Errorf("%s: Complete returned %+v, Stat %+v, %v", name, info, stat, err)
		}
		if all := keys(t, b); !slices.Equal(all, []string{"key"}) {
			t.Errorf("%s: left are %q", name, all)
		}
	}
}

// A part that another process has replaced does not become part of the object.
func TestForeignPart(t *testing.T) {
	b := newBucket(t, nil)
	u, err := b.Upload(t.Context(), "key", 1, object.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Part(t.Context(), 1, 0, [][]byte{{7}}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Put(t.Context(), keys(t, b)[0], [][]byte{{8}}, object.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := u.Complete(t.Context()); !errors.Is(err, object.ErrPrecondition) {
		t.Errorf("Complete: got the error %v, want %v", err, object.ErrPrecondition)
	}
	if _, err := b.Stat(t.Context(), "key"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Stat: got the error %v", err)
	}
}

// An upload sends its bytes from the memory of the caller.
func TestUploadDoesNotCopy(t *testing.T) {
	b := answering(t, true, discard)
	const size = 8 << 20
	part := random(size)
	n := testenv.Pick(32, 8)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	u, err := b.Upload(t.Context(), "key", int64(n*size), object.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for worker := range 4 {
		wait.Go(func() {
			for i := worker; i < n; i += 4 {
				if err := u.Part(t.Context(), i+1, int64(i*size), [][]byte{part[:size-4096], part[size-4096:]}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	runtime.ReadMemStats(&after)
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 4<<20 {
		t.Errorf("an upload of %d MiB allocates %d KiB", n*size>>20, allocated>>10)
	}
}

// discard answers uploads without keeping them.
func discard(w http.ResponseWriter, r *http.Request) {
	head := make([]byte, 1024)
	io.ReadFull(r.Body, head)
	_, rest, _ := strings.Cut(string(head), "\r\n\r\n")
	var a struct{ Name, CRC32C string }
	json.NewDecoder(strings.NewReader(rest)).Decode(&a)
	at := int64(bytes.Index(head, []byte("octet-stream\r\n\r\n")) + len("octet-stream\r\n\r\n"))
	tail := int64(len("\r\n--") + len("orbax-") + 48 + len("--\r\n"))
	io.Copy(io.Discard, r.Body)
	fmt.Fprintf(w, `{"name":%q,"size":"%d","generation":"1","crc32c":%q,"timeCreated":"2026-01-02T03:04:05.678Z"}`, a.Name, r.ContentLength-at-tail, a.CRC32C)
}

// What the service says about the bytes is compared with what was sent.
func TestWrongAnswers(t *testing.T) {
	for name, answer := range map[string]string{
		"size": `{"name":"x","size":"2","generation":"1","crc32c":"` + crc([]byte{7}) + `"}`,
		"crc":  `{"name":"x","size":"1","generation":"1","crc32c":"` + crc([]byte{8}) + `"}`,
		"none": `{"name":"x","size":"1","generation":"1"}`,
	} {
		b := answering(t, true, func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); io.WriteString(w, answer) })
		u, err := b.Upload(t.Context(), "key", 1, object.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var e *object.Error
		if err := u.Part(t.Context(), 1, 0, [][]byte{{7}}); !errors.As(err, &e) || !e.Temporary {
			t.Errorf("%s: Part returned %v", name, err)
		}
	}
}

func crc(p []byte) string {
	sum := crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli))
	text, _ := json.Marshal([]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
	return strings.Trim(string(text), `"`)
}
