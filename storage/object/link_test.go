package object_test

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/object"
)

// source is a file of a directory of which a stage copies files.
const source = "run/earlier/d/" + random

// copying begins a stage of ck, beside a directory with the source.
func copying(t *testing.T, s *service, b object.Bucket, o object.Options) (g storage.Stage, seen storage.Info) {
	must(t, save(t.Context(), object.New(s, options), "run/earlier", map[string]string{"d/" + random: long("earlier"), marker: "x"}, nil))
	store := object.New(b, o)
	g, err := store.Begin(t.Context(), ck, storage.BeginOptions{Marker: marker})
	must(t, err)
	seen, err = store.Stat(t.Context(), source)
	must(t, err)
	return g, seen
}

// savesCopy is a save that copies a file of another directory.
var savesCopy = scenario{name: "a save that copies a file of another directory", new: with(newFiles, "d/e"+random, "x"), run: func(ctx context.Context, _ *service, _, own storage.Store) error {
	g, err := own.Begin(ctx, ck, storage.BeginOptions{Marker: marker})
	if err != nil {
		return err
	}
	seen, err := own.Stat(ctx, ck+"2/neighbour")
	if err == nil {
		err = g.Link(ctx, ck+"2/neighbour", "d/e"+random, storage.LinkOptions{Share: true, Source: seen})
	}
	if err == nil {
		err = writeAll(ctx, g, newFiles)
	}
	if err != nil {
		return errors.Join(err, g.Abort())
	}
	return g.Commit(ctx)
}}

// A copy takes one request, and the bytes do not pass through this process.
func TestLinkRequests(t *testing.T) {
	s := newService(false)
	c := newClient(s, nil)
	g, seen := copying(t, s, c, options)
	before, _ := c.requests()
	must(t, g.Link(t.Context(), source, "d/"+random, storage.LinkOptions{Share: true, Source: seen}))
	if n, log := c.requests(); n != before+1 || !strings.Contains(log[n-1], " copy "+source+" to ") {
		t.Errorf("Link makes the requests %q, want one copy", log[before:])
	}
	must(t, write(t.Context(), g, marker, "x"))
	must(t, g.Commit(t.Context()))

	// The copy outlives its source.
	e, err := object.New(s, options).Edit(t.Context(), "run/earlier")
	must(t, err)
	must(t, e.RemoveAll(t.Context(), everything(s)))
	must(t, e.Close())
	if want := map[string]string{"d/" + random: long("earlier"), marker: "x"}; !maps.Equal(contents(s, ck), want) {
		t.Errorf("after the removal of the source there are %q", contents(s, ck))
	}
}

// If the answer to a copy is lost, its source may be gone before the next attempt. A source
// that goes or changes before the copy makes none, and the name is free.
func TestLinkSource(t *testing.T) {
	for what, c := range map[string]struct {
		act  act // of the first copy
		then func(t *testing.T, s *service)
		want error
	}{
		"its answer is lost":                         {unheard, nil, nil},
		"its answer is lost, and the source goes":    {unheard, goes, nil},
		"its answer is lost, and the source changes": {unheard, changes, nil},
		"it fails, and the source goes":              {fails, goes, fs.ErrNotExist},
		"it fails, and the source changes":           {fails, changes, fault.ErrBusy},
		"the service refuses it":                     {refused, nil, errRefused},
		"it fails once":                              {fails, nil, nil},
	} {
		for _, weak := range []bool{false, true} {
			t.Run(what, func(t *testing.T) {
				t.Parallel()
				s := newService(weak)
				copies := 0
				client := newClient(s, func(_ int, op, key string) act {
					if op != "copy" || !strings.HasPrefix(key, source) {
						return succeeds
					}
					if copies++; copies == 1 {
						return c.act
					}
					if copies == 2 && c.then != nil {
						c.then(t, s)
					}
					return succeeds
				})
				g, seen := copying(t, s, client, options)
				err := g.Link(t.Context(), source, "d/"+random, storage.LinkOptions{Share: true, Source: seen})
				want := map[string]string{"d/" + random: long("earlier"), marker: "x"}
				if c.want != nil {
					if !errors.Is(err, c.want) && !(c.want == errRefused && err != nil) {
						t.Errorf("got the error %v, want %v", err, c.want)
					}
					want["d/"+random] = "written"
					must(t, write(t.Context(), g, "d/"+random, "written"))
				} else {
					must(t, err)
				}
				must(t, write(t.Context(), g, marker, "x"))
				must(t, g.Commit(t.Context()))
				if got := contents(s, ck); !maps.Equal(got, want) {
					t.Errorf("there are %q, want %q", got, want)
				}
			})
		}
	}
}

var errRefused = errors.New("refused")

func goes(t *testing.T, s *service) {
	must(t, s.Bucket.Delete(t.Context(), []object.Ref{{Key: source}}))
}

func changes(t *testing.T, s *service) { put(t, s, source, "another") }

// lateBucket answers a copy only when it is told to.
type lateBucket struct {
	*client
	copies []func() // that are under way
}

func (b *lateBucket) Copy(ctx context.Context, from object.Ref, to string, o object.PutOptions) (object.Info, error) {
	if !strings.HasPrefix(from.Key, "run/earlier") {
		return b.client.Copy(ctx, from, to, o)
	}
	b.copies = append(b.copies, func() { b.client.Copy(context.WithoutCancel(ctx), from, to, o) })
	return object.Info{}, &object.Error{Op: "copy", Key: from.Key, Message: "no answer", Temporary: true}
}

func (b *lateBucket) arrive() {
	for _, c := range b.copies {
		c()
	}
}

// A copy that was given up and is made later is not in the directory that is committed, nor
// is it left when the stage is aborted.
func TestLateCopy(t *testing.T) {
	o := options
	o.Patience = time.Second
	for _, commits := range []bool{true, false} {
		s := newService(false)
		b := &lateBucket{client: newClient(s, nil)}
		g, seen := copying(t, s, b, o)
		err := g.Link(t.Context(), source, "d/"+random, storage.LinkOptions{Share: true, Source: seen})
		if err == nil || !strings.Contains(err.Error(), "no answer") || len(b.copies) < 2 {
			t.Fatalf("after %d copies without an answer: %v", len(b.copies), err)
		}
		must(t, write(t.Context(), g, "d/f"+random, "written"))
		must(t, write(t.Context(), g, marker, "x"))
		b.arrive()
		if !slices.Contains(s.Keys(), ck+"/d/"+random) {
			t.Fatal("the late copy was not made")
		}
		want := map[string]string{}
		if commits {
			must(t, g.Commit(t.Context()))
			want = map[string]string{"d/f" + random: "written", marker: "x"}
		} else {
			must(t, g.Abort())
		}
		if got := contents(s, ck); !maps.Equal(got, want) {
			t.Errorf("there are %q, want %q", got, want)
		}
	}
}
