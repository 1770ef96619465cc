package buckettest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-orbax/orbax/storage/object"
)

var putTests = []test{
	{"buffers", testBuffers},
	{"writer", testWriter},
	{"conditions", testPutConditions},
	{"race to create", testRaceToCreate},
	{"race to replace", testRaceToReplace},
	{"versions of equal bytes", testEqualBytes},
}

// is reports whether err matches one of the targets.
func is(err error, targets ...error) bool {
	return slices.ContainsFunc(targets, func(t error) bool { return errors.Is(err, t) })
}

// The object has the bytes of all buffers, one after the other, and keeps none of them.
func testBuffers(e *env) {
	want := data(4, 3<<20)
	mine := slices.Clone(want)
	body := [][]byte{mine[:1], nil, mine[1:5000], {}, mine[5000 : 1<<20], mine[1<<20:]}
	info, err := e.b.Put(e.Context(), "key", body, object.PutOptions{})
	e.must("Put", err)
	if !slices.Equal(mine, want) {
		e.Error("Put has changed the buffers")
	}
	clear(mine)
	got := e.holds("key", want)
	e.describes("Put", info, "key", int64(len(want)), got.Version, "")
	e.put("key", []byte("shorter"))
	e.holds("key", []byte("shorter"))
}

// The writer is recorded with the object.
func testWriter(e *env) {
	const writer = "0123456789abcdefABCDEF"
	info, err := e.b.Put(e.Context(), "key", [][]byte{[]byte("x")}, object.PutOptions{Writer: writer})
	e.must("Put", err)
	e.describes("Put", info, "key", 1, info.Version, writer)
	stat, err := e.b.Stat(e.Context(), "key")
	e.must("Stat", err)
	e.describes("Stat", stat, "key", 1, info.Version, writer)
	_, got, err := e.b.Get(e.Context(), "key", "", [][]byte{make([]byte, 1)}, 0)
	e.must("Get", err)
	e.describes("Get", got, "key", 1, info.Version, writer)
	e.put("key", []byte("y"))
	stat, err = e.b.Stat(e.Context(), "key")
	e.must("Stat", err)
	if stat.Writer != "" {
		e.Errorf("the object of no writer has the writer %q", stat.Writer)
	}
}

// The service refuses a Put whose conditions do not hold, and leaves the object as it is.
func testPutConditions(e *env) {
	put := func(what, text string, o object.PutOptions, want error) object.Info {
		e.Helper()
		info, err := e.b.Put(e.Context(), "key", [][]byte{[]byte(text)}, o)
		if want == nil {
			e.must(what, err)
		} else {
			e.want(what, err, want)
		}
		return info
	}
	first := put("IfAbsent of a missing object", "1", object.PutOptions{IfAbsent: true}, nil)
	put("IfAbsent of an object that exists", "2", object.PutOptions{IfAbsent: true}, object.ErrPrecondition)
	put("IfAbsent, the same bytes", "1", object.PutOptions{IfAbsent: true}, object.ErrPrecondition)
	e.holds("key", []byte("1"))
	second := put("IfVersion of the current version", "3", object.PutOptions{IfVersion: first.Version}, nil)
	put("IfVersion of an old version", "4", object.PutOptions{IfVersion: first.Version}, object.ErrPrecondition)
	e.holds("key", []byte("3"))
	e.must("Delete", e.b.Delete(e.Context(), []object.Ref{{Key: "key"}}))
	put("IfVersion of a missing object", "5", object.PutOptions{IfVersion: second.Version}, object.ErrPrecondition)
	e.lacks("key")
	put("IfAbsent after the deletion", "6", object.PutOptions{IfAbsent: true}, nil)
	e.holds("key", []byte("6"))
}

// Of several writers that create an object, one succeeds, and the object is its own.
func testRaceToCreate(e *env) {
	winner := e.race(func(ctx context.Context, i int) error {
		_, err := e.b.Put(ctx, "claim", [][]byte{fmt.Appendf(nil, "writer %d", i)}, object.PutOptions{IfAbsent: true, Writer: fmt.Sprint("w", i)})
		return err
	})
	if info := e.holds("claim", fmt.Appendf(nil, "writer %d", winner)); info.Writer != fmt.Sprint("w", winner) {
		e.Errorf("the writer is %q, want w%d", info.Writer, winner)
	}
}

// Of several writers that replace a version, one succeeds, and the object is its own.
func testRaceToReplace(e *env) {
	made := e.put("claim", []byte("before"))
	winner := e.race(func(ctx context.Context, i int) error {
		_, err := e.b.Put(ctx, "claim", [][]byte{fmt.Appendf(nil, "writer %d", i)}, object.PutOptions{IfVersion: made.Version})
		return err
	})
	e.holds("claim", fmt.Appendf(nil, "writer %d", winner))
}

// No two objects of a key have the same version, not even if they have the same bytes, unless
// the bucket says that the version is that of the bytes.
func testEqualBytes(e *env) {
	ofBytes := e.b.Limits().VersionOfBytes
	seen := map[string]bool{}
	for i := range 10 {
		info := e.put("key", []byte("x"))
		if i > 0 && seen[info.Version] != ofBytes {
			e.Errorf("object %d has the version %q, like another one before: %t, want %t", i, info.Version, seen[info.Version], ofBytes)
		}
		seen[info.Version] = true
		if i%2 == 0 {
			e.must("Delete", e.b.Delete(e.Context(), []object.Ref{{Key: "key"}}))
		}
	}
}
