package buckettest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/go-orbax/orbax/storage/object"
)

var copyTests = []test{
	{"bytes", testCopy},
	{"source", testCopySource},
	{"target", testCopyTarget},
	{"race", testRaceToCopy},
}

// A copy has the bytes of its source, and its writer unless another one is given.
func testCopy(e *env) {
	want := data(9, 300_000)
	from, err := e.b.Put(e.Context(), "a/from", [][]byte{want}, object.PutOptions{Writer: "w1"})
	e.must("Put", err)
	for _, c := range []struct{ to, writer, recorded string }{{"a/to", "", "w1"}, {"b c/to+1", "w2", "w2"}, {"a/to", "w3", "w3"}} {
		info, err := e.b.Copy(e.Context(), object.Ref{Key: "a/from", Version: from.Version}, c.to, object.PutOptions{Writer: c.writer})
		e.must("Copy", err)
		e.about("Now", info.Now)
		got := e.holds(c.to, want)
		e.describes("the copy", got, c.to, int64(len(want)), info.Version, c.recorded)
		if info.Key != c.to {
			e.Errorf("Copy returned the key %q, want %q", info.Key, c.to)
		}
	}
	e.put("empty", nil)
	_, err = e.b.Copy(e.Context(), object.Ref{Key: "empty"}, "empty2", object.PutOptions{})
	e.must("Copy of an empty object", err)
	e.holds("empty2", nil)
	got := e.holds("a/from", want)
	e.describes("the source", got, "a/from", int64(len(want)), from.Version, "w1")
}

// A copy of a version that is gone, or of a missing object, fails and makes nothing.
func testCopySource(e *env) {
	old := e.put("from", []byte("1"))
	made := e.put("from", []byte("2"))
	_, err := e.b.Copy(e.Context(), object.Ref{Key: "from", Version: old.Version}, "to", object.PutOptions{})
	e.want("Copy of an old version", err, object.ErrPrecondition)
	_, err = e.b.Copy(e.Context(), object.Ref{Key: "missing"}, "to", object.PutOptions{})
	e.want("Copy of a missing object", err, fs.ErrNotExist)
	e.lacks("to")
	_, err = e.b.Copy(e.Context(), object.Ref{Key: "from", Version: made.Version}, "to", object.PutOptions{})
	e.must("Copy of the current version", err)
	e.holds("to", []byte("2"))
}

// A service that checks the conditions of the target keeps the target as it is.
func testCopyTarget(e *env) {
	e.needCopyConditions()
	from := e.put("from", []byte("from"))
	first := e.put("to", []byte("1"))
	_, err := e.b.Copy(e.Context(), object.Ref{Key: "from", Version: from.Version}, "to", object.PutOptions{IfVersion: first.Version})
	e.must("Copy over the current version", err)
	e.put("to", []byte("2"))
	for what, o := range map[string]object.PutOptions{"IfAbsent": {IfAbsent: true}, "IfVersion": {IfVersion: first.Version}} {
		_, err := e.b.Copy(e.Context(), object.Ref{Key: "from"}, "to", o)
		e.want("Copy with "+what, err, object.ErrPrecondition)
		e.holds("to", []byte("2"))
	}
}

// needCopyConditions skips the test if the service ignores the conditions of a copy.
func (e *env) needCopyConditions() {
	e.Helper()
	e.put("probe", []byte("probe"))
	e.put("probe-to", []byte("probe"))
	_, err := e.b.Copy(e.Context(), object.Ref{Key: "probe"}, "probe-to", object.PutOptions{IfAbsent: true})
	if err == nil {
		e.Skip("the service ignores the conditions of a copy")
	}
	if !errors.Is(err, object.ErrPrecondition) {
		e.Fatalf("Copy with IfAbsent: %v", err)
	}
}

// Of several copies that create an object, one succeeds.
func testRaceToCopy(e *env) {
	e.needCopyConditions()
	for i := range racers {
		e.put(fmt.Sprint("from", i), fmt.Append(nil, "from ", i))
	}
	winner := e.race(func(ctx context.Context, i int) error {
		_, err := e.b.Copy(ctx, object.Ref{Key: fmt.Sprint("from", i)}, "to", object.PutOptions{IfAbsent: true})
		return err
	})
	e.holds("to", fmt.Append(nil, "from ", winner))
}

var deleteTests = []test{
	{"objects", testDelete},
	{"versions", testDeleteVersions},
}

// Delete removes objects. One that is missing is no error.
func testDelete(e *env) {
	e.must("Delete of nothing", e.b.Delete(e.Context(), nil))
	e.must("Delete of a missing object", e.b.Delete(e.Context(), []object.Ref{{Key: "missing"}}))
	for _, key := range []string{"a", "dir/b", "dir/c", "dir/sub/d", "e"} {
		e.put(key, []byte(key))
	}
	e.must("Delete", e.b.Delete(e.Context(), []object.Ref{{Key: "dir/b"}, {Key: "missing"}, {Key: "dir/sub/d"}, {Key: "a"}}))
	keys, _ := e.list(object.ListOptions{Flat: true})
	e.same("the listing", keys, []string{"dir/c", "e"})
	e.must("Delete again", e.b.Delete(e.Context(), []object.Ref{{Key: "dir/b"}}))
	e.must("Delete of a prefix", e.b.Delete(e.Context(), []object.Ref{{Key: "dir"}}))
	e.holds("dir/c", []byte("dir/c"))
}

// An object that has another version than its Ref asks for stays, and is no error.
func testDeleteVersions(e *env) {
	old, stays := e.put("changed", []byte("1")), e.put("changed", []byte("2"))
	goes := e.put("same", []byte("3"))
	gone := e.put("gone", []byte("4"))
	e.must("Delete", e.b.Delete(e.Context(), []object.Ref{{Key: "gone"}}))
	refs := []object.Ref{{Key: "same", Version: goes.Version}, {Key: "gone", Version: gone.Version}}
	if e.b.Limits().ComparesDeletes {
		refs = append(refs, object.Ref{Key: "changed", Version: old.Version})
	}
	e.must("Delete of versions", e.b.Delete(e.Context(), refs))
	e.lacks("same")
	e.lacks("gone")
	info := e.holds("changed", []byte("2"))
	if info.Version != stays.Version {
		e.Errorf("the version is %q, want %q", info.Version, stays.Version)
	}
	e.must("Delete of the current version", e.b.Delete(e.Context(), []object.Ref{{Key: "changed", Version: stays.Version}}))
	e.lacks("changed")
}
