package buckettest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage/object"
)

var getTests = []test{
	{"ranges", testRanges},
	{"buffers", testGetBuffers},
	{"zero size", testZeroSize},
	{"missing", testMissing},
	{"version", testVersion},
	{"at the same time", testConcurrentGets},
	{"odd keys", testOddKeys},
}

// Get fills p from the offset on, and returns fewer bytes where the object ends.
func testRanges(e *env) {
	const size = 100_000
	want := data(1, size)
	made := e.put("dir/object", want)
	for _, c := range []struct{ off, n int64 }{
		{0, size}, {0, 1}, {0, size + 1}, {0, 2 * size}, {1, size - 1}, {size / 2, 10}, {size - 1, 1}, {size - 1, 2},
		{size - 10, 100}, {size, 1}, {size, 100}, {size + 1, 1}, {2 * size, 10}, {1 << 40, 10}, {0, 0}, {10, 0}, {size, 0},
	} {
		name := fmt.Sprintf("Get of %d bytes at %d", c.n, c.off)
		p := make([]byte, c.n)
		n, info, err := e.b.Get(e.Context(), "dir/object", "", [][]byte{p}, c.off)
		e.must(name, err)
		lo := min(c.off, size)
		if part := want[lo:min(lo+c.n, size)]; !bytes.Equal(p[:n], part) {
			e.Errorf("%s: got %d bytes, want %d, or they differ", name, n, len(part))
		}
		e.describes(name, info, "dir/object", size, made.Version, "")
	}
}

// Get fills several buffers, one after the other.
func testGetBuffers(e *env) {
	const size = 100_000
	want := data(11, size)
	e.put("key", want)
	for _, off := range []int{0, 1, 50_000, size - 10, size, 2 * size} {
		left := want[min(off, size):]
		for _, lengths := range [][]int{{1, 0, 2}, {0, 10, 5, 0}, {size, size}, {20_000, 0, 20_000, 20_000, 0, 60_000}, {0, 0}} {
			var p [][]byte
			total := 0
			for _, n := range lengths {
				p = append(p, make([]byte, n))
				total += n
			}
			n, info, err := e.b.Get(e.Context(), "key", "", p, int64(off))
			what := fmt.Sprintf("Get of buffers of %v bytes at %d", lengths, off)
			e.must(what, err)
			if got := bytes.Join(p, nil); n != min(total, len(left)) || !bytes.Equal(got[:n], left[:n]) {
				e.Errorf("%s: got %d bytes, want %d, or they differ", what, n, min(total, len(left)))
			}
			if info.Size != size {
				e.Errorf("%s: got the size %d, want %d", what, info.Size, size)
			}
		}
	}
}

// describes fails the test unless info is complete and has these fields.
func (e *env) describes(what string, info object.Info, key string, size int64, version, writer string) {
	e.Helper()
	if info.Key != key || info.Size != size || info.Version != version || info.Version == "" || info.Writer != writer {
		e.Errorf("%s: got %+v, want key %q, size %d, version %q, writer %q", what, info, key, size, version, writer)
	}
	e.about(what+": Modified", info.Modified)
	e.about(what+": Now", info.Now)
}

// An object can have no bytes.
func testZeroSize(e *env) {
	for i, body := range [][][]byte{nil, {}, {nil}, {{}, nil, {}}} {
		key := fmt.Sprint("empty", i)
		made, err := e.b.Put(e.Context(), key, body, object.PutOptions{Writer: "w1"})
		e.must("Put", err)
		for _, c := range []struct {
			n   int
			off int64
		}{{0, 0}, {10, 0}, {10, 5}} {
			n, info, err := e.b.Get(e.Context(), key, made.Version, [][]byte{make([]byte, c.n)}, c.off)
			e.must("Get", err)
			if n != 0 {
				e.Errorf("got %d bytes of an empty object", n)
			}
			e.describes("Get", info, key, 0, made.Version, "w1")
		}
		info, err := e.b.Stat(e.Context(), key)
		e.must("Stat", err)
		e.describes("Stat", info, key, 0, made.Version, "w1")
	}
}

// A missing object is an error that matches fs.ErrNotExist and names the key.
func testMissing(e *env) {
	e.put("there", []byte("x"))
	for _, key := range []string{"missing", "there/below", "ther", "missing/below"} {
		for _, p := range [][]byte{nil, make([]byte, 10)} {
			n, _, err := e.b.Get(e.Context(), key, "", [][]byte{p}, 0)
			e.want("Get "+key, err, fs.ErrNotExist)
			if n != 0 {
				e.Errorf("Get %s has filled %d bytes", key, n)
			}
		}
		_, err := e.b.Stat(e.Context(), key)
		e.want("Stat "+key, err, fs.ErrNotExist)
	}
}

// With a version, Get fails as soon as the object has another one.
func testVersion(e *env) {
	first, second := data(1, 1000), data(2, 1000)
	old := e.put("key", first)
	for _, off := range []int64{0, 500, 1000, 2000} {
		_, info, err := e.b.Get(e.Context(), "key", old.Version, [][]byte{make([]byte, 100)}, off)
		e.must("Get of the current version", err)
		e.describes("Get", info, "key", 1000, old.Version, "")
	}
	made := e.put("key", second)
	if made.Version == old.Version {
		e.Fatalf("the version is %q before and after other bytes", old.Version)
	}
	for _, off := range []int64{0, 500, 1000, 2000} {
		for _, n := range []int{100, 0} {
			n, _, err := e.b.Get(e.Context(), "key", old.Version, [][]byte{make([]byte, n)}, off)
			e.want(fmt.Sprint("Get of an old version at ", off), err, object.ErrPrecondition)
			if n != 0 {
				e.Errorf("Get of an old version has filled %d bytes", n)
			}
		}
	}
	info, err := e.b.Stat(e.Context(), "key")
	e.must("Stat", err)
	e.describes("Stat", info, "key", 1000, made.Version, "")
	e.must("Delete", e.b.Delete(e.Context(), []object.Ref{{Key: "key"}}))
	_, _, err = e.b.Get(e.Context(), "key", made.Version, [][]byte{make([]byte, 10)}, 0)
	if !is(err, fs.ErrNotExist, object.ErrPrecondition) {
		e.Errorf("Get of a version of a deleted object: got the error %v", err)
	}
}

// Several goroutines can read an object.
func testConcurrentGets(e *env) {
	const part, parts = 1 << 18, 16
	want := data(3, part*parts)
	made := e.put("key", want)
	got := make([]byte, len(want))
	e.inParallel(parts, func(i int) error {
		n, _, err := e.b.Get(e.Context(), "key", made.Version, [][]byte{got[i*part : (i+1)*part]}, int64(i*part))
		if err == nil && n != part {
			err = fmt.Errorf("got %d bytes, want %d", n, part)
		}
		return err
	})
	if !bytes.Equal(got, want) {
		e.Error("the bytes differ")
	}
}

// oddKeys are keys that a path of a checkpoint can have.
var oddKeys = []string{
	"a b", "a+b", "a%20b", "100%", "%", "%2F", "a?b=c", "a#b", "a&b", "a=b", "a;b", "a:b", "a@b", "a,b", "a!b", "a$b", "a'b", "a(b)", "a*b", "a~b", "a^b",
	"a\"b", "a<b>c", "a|b", "a[0]", "a{b}", "a`b", ".hidden", "..two", "dir/.hidden", "dir/..x/y", "a.b.c", "-x", "_x", "x.",
	"é", "e\u0301", "名前/値", "🙂", "a\u00a0b", "UPPER", "upper", "ocdbt.process_0/d/0123abc", "dir/a b/c+d/e%2Ff", "x=1/y=2",
}

// A key has any characters that a path can have. The service may refuse a few.
func testOddKeys(e *env) {
	oddKeys := slices.DeleteFunc(slices.Clone(oddKeys), func(key string) bool {
		_, err := e.b.Put(e.Context(), "odd/"+key, nil, object.PutOptions{})
		return errors.Is(err, fault.ErrReservedName)
	})
	if len(oddKeys) < 40 {
		e.Fatalf("the service accepts no other keys than %q", oddKeys)
	}
	for i, key := range oddKeys {
		e.put("odd/"+key, []byte(key+fmt.Sprint(i)))
	}
	keys, _ := e.list(object.ListOptions{Prefix: "odd/", Flat: true})
	e.sameSet("the listing", keys, prefixed("odd/", oddKeys))
	for i, key := range oddKeys {
		info := e.holds("odd/"+key, []byte(key+fmt.Sprint(i)))
		if info.Key != "odd/"+key {
			e.Errorf("the key %q became %q", "odd/"+key, info.Key)
		}
		_, err := e.b.Stat(e.Context(), "odd/"+key)
		e.must("Stat "+key, err)
		_, err = e.b.Copy(e.Context(), object.Ref{Key: "odd/" + key, Version: info.Version}, "copy/"+key, object.PutOptions{})
		e.must("Copy "+key, err)
		e.holds("copy/"+key, []byte(key+fmt.Sprint(i)))
		if keys, _ := e.list(object.ListOptions{Prefix: "odd/" + key, Flat: true}); len(keys) == 0 || keys[0] != "odd/"+key {
			e.Errorf("the listing of the prefix %q has %q", "odd/"+key, keys)
		}
	}
	var refs []object.Ref
	for _, key := range oddKeys {
		refs = append(refs, object.Ref{Key: "odd/" + key})
	}
	e.must("Delete", e.b.Delete(e.Context(), refs))
	keys, _ = e.list(object.ListOptions{Flat: true})
	e.sameSet("the listing after the deletion", keys, prefixed("copy/", oddKeys))
}
