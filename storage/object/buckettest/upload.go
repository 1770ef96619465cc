package buckettest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/go-orbax/orbax/storage/object"
)

var uploadTests = []test{
	{"parts", testParts},
	{"one small part", testOnePart},
	{"again", testPartAgain},
	{"conditions", testUploadConditions},
	{"race to create", testRaceToUpload},
	{"race to replace", testRaceToReplaceByUpload},
	{"abort", testAbort},
	{"abort with parts under way", testAbortUnderWay},
	{"abort all", testAbortUploads},
}

// partSize returns a size that each part can have.
func (e *env) partSize() int { return int(max(e.b.Limits().MinPart, 1<<16)) }

// upload begins an upload, which is aborted at the end of the test.
func (e *env) upload(key string, size int, o object.PutOptions) object.Upload {
	e.Helper()
	u, err := e.b.Upload(e.Context(), key, int64(size), o)
	e.must("Upload "+key, err)
	e.Cleanup(func() { u.Abort(context.WithoutCancel(e.Context())) })
	return u
}

// small begins an upload of one small part and uploads it.
func (e *env) small(key, text string, o object.PutOptions) object.Upload {
	e.Helper()
	u := e.upload(key, len(text), o)
	e.must("Part", u.Part(e.Context(), 1, 0, [][]byte{[]byte(text)}))
	return u
}

// pending fails the test unless n uploads are neither complete nor aborted.
func (e *env) pending(what string, n int) {
	e.Helper()
	if e.o.Uploads == nil {
		return
	}
	if got := e.o.Uploads(e.T, e.b); got != n {
		e.Errorf("%s: %d uploads are left, want %d", what, got, n)
	}
}

// Parts are uploaded in any order and at the same time. Their numbers may have gaps. The
// object appears when the upload is complete, with all bytes.
func testParts(e *env) {
	size := e.partSize()
	lengths := []int{size, size + 1000, size, 777}
	numbers := []int{1, 2, 5, 9}
	var offs []int
	total := 0
	for _, n := range lengths {
		offs = append(offs, total)
		total += n
	}
	want := data(5, total)
	for name, order := range map[string][]int{"in order": {0, 1, 2, 3}, "out of order": {3, 1, 0, 2}, "at once": nil} {
		u := e.upload("dir/"+name, total, object.PutOptions{Writer: "w7"})
		part := func(i int) error {
			p := want[offs[i] : offs[i]+lengths[i]]
			return u.Part(e.Context(), numbers[i], int64(offs[i]), [][]byte{p[:10], nil, p[10:]})
		}
		for _, i := range order {
			e.must(name, part(i))
		}
		if order == nil {
			e.inParallel(len(lengths), part)
		}
		e.lacks("dir/" + name)
		info, err := u.Complete(e.Context())
		e.must("Complete "+name, err)
		got := e.holds("dir/"+name, want)
		e.describes("Get", got, "dir/"+name, int64(total), info.Version, "w7")
		e.describes("Complete", info, "dir/"+name, int64(total), got.Version, "w7")
		e.must("Abort after Complete", u.Abort(e.Context()))
		e.holds("dir/"+name, want)
		e.pending(name, 0)
	}
}

// The only part may have any size, also 0, and the expected size need not be known.
func testOnePart(e *env) {
	for _, size := range []int{0, 1, 1000} {
		key := fmt.Sprint("one", size)
		want := data(6, size)
		u := e.upload(key, -1, object.PutOptions{})
		e.must("Part", u.Part(e.Context(), 1, 0, [][]byte{want}))
		info, err := u.Complete(e.Context())
		e.must("Complete", err)
		got := e.holds(key, want)
		e.describes("Complete", info, key, int64(size), got.Version, "")
	}
}

// A part may be uploaded again under its number.
func testPartAgain(e *env) {
	size := e.partSize()
	want := data(7, size+100)
	u := e.upload("key", len(want), object.PutOptions{})
	for range 2 {
		e.must("Part 2", u.Part(e.Context(), 2, int64(size), [][]byte{want[size:]}))
	}
	for range 2 {
		e.must("Part 1", u.Part(e.Context(), 1, 0, [][]byte{want[:size]}))
	}
	_, err := u.Complete(e.Context())
	e.must("Complete", err)
	e.holds("key", want)
}

// The service refuses to complete an upload whose conditions do not hold.
func testUploadConditions(e *env) {
	complete := func(what, text string, o object.PutOptions, want error) object.Info {
		e.Helper()
		u := e.small("key", text, o)
		info, err := u.Complete(e.Context())
		if want == nil {
			e.must(what, err)
			return info
		}
		e.want(what, err, want)
		e.must("Abort", u.Abort(e.Context()))
		e.pending(what, 0)
		return info
	}
	first := complete("IfAbsent of a missing object", "1", object.PutOptions{IfAbsent: true}, nil)
	complete("IfAbsent of an object that exists", "2", object.PutOptions{IfAbsent: true}, object.ErrPrecondition)
	e.holds("key", []byte("1"))
	second := complete("IfVersion of the current version", "3", object.PutOptions{IfVersion: first.Version}, nil)
	complete("IfVersion of an old version", "4", object.PutOptions{IfVersion: first.Version}, object.ErrPrecondition)
	e.holds("key", []byte("3"))

	// The conditions are those of the moment of Complete.
	replaced := e.small("key", "5", object.PutOptions{IfVersion: second.Version})
	e.put("key", []byte("6"))
	_, err := replaced.Complete(e.Context())
	e.want("IfVersion of a version that is replaced meanwhile", err, object.ErrPrecondition)
	made := e.small("other", "7", object.PutOptions{IfAbsent: true})
	e.put("other", []byte("8"))
	_, err = made.Complete(e.Context())
	e.want("IfAbsent of an object that is made meanwhile", err, object.ErrPrecondition)
	e.must("Abort", errors.Join(replaced.Abort(e.Context()), made.Abort(e.Context())))
	e.holds("key", []byte("6"))
	e.holds("other", []byte("8"))

	e.must("Delete", e.b.Delete(e.Context(), []object.Ref{{Key: "key"}}))
	complete("IfVersion of a missing object", "9", object.PutOptions{IfVersion: second.Version}, object.ErrPrecondition)
	e.lacks("key")
}

// Of several uploads that create an object, one succeeds.
func testRaceToUpload(e *env) { e.raceUploads(object.PutOptions{IfAbsent: true}) }

// Of several uploads that replace a version, one succeeds.
func testRaceToReplaceByUpload(e *env) {
	e.raceUploads(object.PutOptions{IfVersion: e.put("key", []byte("before")).Version})
}

func (e *env) raceUploads(o object.PutOptions) {
	uploads := make([]object.Upload, racers)
	for i := range uploads {
		uploads[i] = e.small("key", fmt.Sprint("upload ", i), o)
	}
	winner := e.race(func(ctx context.Context, i int) error {
		_, err := uploads[i].Complete(ctx)
		return err
	})
	e.holds("key", fmt.Append(nil, "upload ", winner))
	for _, u := range uploads {
		e.must("Abort", u.Abort(e.Context()))
	}
	e.holds("key", fmt.Append(nil, "upload ", winner))
	e.pending("after the race", 0)
}

// An upload that is aborted leaves nothing, and cannot be completed.
func testAbort(e *env) {
	size := e.partSize()
	e.put("key", []byte("before"))
	for _, n := range []int{0, 1, 3} {
		u := e.upload("key", 3*size, object.PutOptions{})
		for i := range n {
			e.must("Part", u.Part(e.Context(), i+1, int64(i*size), [][]byte{data(uint64(i), size)}))
		}
		e.must("Abort", u.Abort(e.Context()))
		e.pending("after Abort", 0)
		if _, err := u.Complete(e.Context()); err == nil {
			e.Error("Complete after Abort got no error")
		}
		e.must("Abort again", u.Abort(e.Context()))
		e.holds("key", []byte("before"))
	}
	keys, _ := e.list(object.ListOptions{Flat: true})
	e.same("the listing", keys, []string{"key"})
}

// Abort may be called once the parts have returned, also those that were cancelled.
func testAbortUnderWay(e *env) {
	size := e.partSize()
	want := data(8, size)
	u := e.upload("key", 4*size, object.PutOptions{})
	ctx, cancel := context.WithCancel(e.Context())
	var wait sync.WaitGroup
	for i := range 4 {
		wait.Go(func() { u.Part(ctx, i+1, int64(i*size), [][]byte{want}) })
	}
	cancel()
	wait.Wait()
	e.must("Abort", u.Abort(e.Context()))
	e.pending("after Abort", 0)
	e.lacks("key")
}

// AbortUploads ends the uploads below a prefix, and nothing else.
func testAbortUploads(e *env) {
	e.put("dir/object", []byte("there"))
	dead := []object.Upload{e.small("dir/dead", "x", object.PutOptions{}), e.small("dir/sub/dead", "x", object.PutOptions{}), e.small("dir/dead", "y", object.PutOptions{})}
	alive := e.small("dirt/alive", "z", object.PutOptions{})
	_, err := e.small("dir/complete", "c", object.PutOptions{}).Complete(e.Context())
	e.must("Complete", err)
	e.must("AbortUploads", e.b.AbortUploads(e.Context(), "dir/"))
	e.must("AbortUploads where there are none", e.b.AbortUploads(e.Context(), "none/"))
	e.pending("after AbortUploads", 1)
	if e.o.Uploads != nil {
		for _, u := range dead {
			if _, err := u.Complete(e.Context()); err == nil {
				e.Error("Complete after AbortUploads got no error")
			}
		}
		e.lacks("dir/dead")
	}
	_, err = alive.Complete(e.Context())
	e.must("Complete of another prefix", err)
	e.holds("dirt/alive", []byte("z"))
	e.holds("dir/object", []byte("there"))
	e.holds("dir/complete", []byte("c"))
	for _, u := range dead {
		e.must("Abort after AbortUploads", u.Abort(e.Context()))
	}
}
