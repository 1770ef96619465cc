package buckettest

import (
	"fmt"
	"slices"
	"time"

	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/storage/object"
)

var listTests = []test{
	{"prefixes", testList},
	{"fields", testListFields},
	{"pages", testPages},
	{"many", testManyKeys},
	{"after a change", testListAfterChange},
	{"directories", testDirectoryObjects},
}

// prefixed returns the names with a prefix.
func prefixed(prefix string, names []string) []string {
	all := make([]string, len(names))
	for i, n := range names {
		all[i] = prefix + n
	}
	return all
}

// same fails the test unless two lists are equal.
func (e *env) same(what string, got, want []string) {
	e.Helper()
	if !slices.Equal(got, want) {
		e.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// sameSet fails the test unless two lists have the same texts.
func (e *env) sameSet(what string, got, want []string) {
	e.Helper()
	e.same(what, slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want)))
}

// treeKeys are keys whose order differs from that of a walk through directories.
var treeKeys = []string{
	"run/1/a", "run/1/b/c", "run/1/b/d/e", "run/1-x", "run/1.x/y", "run/10/a", "run/2/a", "run/commit", "run/b/x", "runner", "top", "z/1", "run/B", "run/é",
}

// A listing has the objects and prefixes below a prefix, in the order of their keys.
func testList(e *env) {
	for _, key := range treeKeys {
		e.put(key, []byte(key))
	}
	for _, c := range []struct {
		prefix         string
		flat           bool
		keys, prefixes []string
	}{
		{"", false, []string{"runner", "top"}, []string{"run/", "z/"}},
		{"run", false, []string{"runner"}, []string{"run/"}},
		{"run/", false, []string{"run/1-x", "run/B", "run/commit", "run/é"}, []string{"run/1.x/", "run/1/", "run/10/", "run/2/", "run/b/"}},
		{"run/1", false, []string{"run/1-x"}, []string{"run/1.x/", "run/1/", "run/10/"}},
		{"run/1/", false, []string{"run/1/a"}, []string{"run/1/b/"}},
		{"run/1/b/", true, []string{"run/1/b/c", "run/1/b/d/e"}, nil},
		{"run/1/", true, []string{"run/1/a", "run/1/b/c", "run/1/b/d/e"}, nil},
		{"run/1", true, []string{"run/1-x", "run/1.x/y", "run/1/a", "run/1/b/c", "run/1/b/d/e", "run/10/a"}, nil},
		{"", true, slices.Sorted(slices.Values(treeKeys)), nil},
		{"missing/", false, nil, nil},
		{"missing", true, nil, nil},
		{"top/", false, nil, nil},
		{"top", true, []string{"top"}, nil},
	} {
		for _, limit := range []int{0, 1, 3} {
			what := fmt.Sprintf("List of %q, flat %t, limit %d", c.prefix, c.flat, limit)
			keys, prefixes := e.list(object.ListOptions{Prefix: c.prefix, Flat: c.flat, Limit: limit})
			e.same(what+": keys", keys, c.keys)
			e.same(what+": prefixes", prefixes, c.prefixes)
		}
	}
}

// A listing describes the objects as Stat does, without their writers.
func testListFields(e *env) {
	want := map[string]object.Info{}
	for i, key := range []string{"a", "b/c", "d"} {
		info, err := e.b.Put(e.Context(), key, [][]byte{data(uint64(i), 100*i)}, object.PutOptions{Writer: "w"})
		e.must("Put", err)
		want[key] = info
	}
	page, err := e.b.List(e.Context(), object.ListOptions{Flat: true})
	e.must("List", err)
	e.about("Page.Now", page.Now)
	for _, got := range page.Objects {
		put := want[got.Key]
		stat, err := e.b.Stat(e.Context(), got.Key)
		e.must("Stat", err)
		if got.Size != put.Size || got.Version != put.Version || got.Writer != "" || !got.Now.IsZero() {
			e.Errorf("List has %+v, Put %+v", got, put)
		}
		// Some answers have whole seconds.
		if d := got.Modified.Sub(stat.Modified); d.Abs() > time.Second {
			e.Errorf("%s was modified at %v by List, at %v by Stat", got.Key, got.Modified, stat.Modified)
		}
		_, info, err := e.b.Get(e.Context(), got.Key, got.Version, [][]byte{make([]byte, 1)}, 0)
		e.must("Get of the listed version", err)
		if info.Version != got.Version {
			e.Errorf("List has the version %q, Get %q", got.Version, info.Version)
		}
	}
	if len(page.Objects) != len(want) {
		e.Errorf("List has %d objects, want %d", len(page.Objects), len(want))
	}
}

// A page has at most Limit entries, and the pages together have each entry once.
func testPages(e *env) {
	var objects, prefixes []string
	for i := range 7 {
		objects = append(objects, fmt.Sprintf("p/f%d", i))
		prefixes = append(prefixes, fmt.Sprintf("p/e%d/", i))
		e.put(objects[i], nil)
		e.put(prefixes[i]+"x", nil)
		e.put(prefixes[i]+"y", nil)
	}
	for _, limit := range []int{1, 2, 3, 7, 13, 14, 15, 100} {
		o := object.ListOptions{Prefix: "p/", Limit: limit}
		var gotObjects, gotPrefixes []string
		for range 50 {
			page, err := e.b.List(e.Context(), o)
			e.must("List", err)
			e.about("Page.Now", page.Now)
			if n := len(page.Objects) + len(page.Prefixes); n > limit {
				e.Errorf("a page has %d entries, the limit is %d", n, limit)
			}
			for _, i := range page.Objects {
				gotObjects = append(gotObjects, i.Key)
			}
			gotPrefixes = append(gotPrefixes, page.Prefixes...)
			if o.Token = page.Next; o.Token == "" {
				break
			}
		}
		e.same(fmt.Sprint("objects, limit ", limit), gotObjects, objects)
		e.same(fmt.Sprint("prefixes, limit ", limit), gotPrefixes, prefixes)
	}
}

// More objects than a page of a service has are listed and deleted.
func testManyKeys(e *env) {
	n := testenv.Pick(1100, 12)
	want := make([]string, n)
	refs := []object.Ref{{Key: "many/missing"}}
	for i := range n {
		want[i] = fmt.Sprintf("many/%04d", i)
		refs = append(refs, object.Ref{Key: want[i]})
	}
	e.inParallel(n, func(i int) error {
		_, err := e.b.Put(e.Context(), want[i], [][]byte{[]byte(want[i])}, object.PutOptions{})
		return err
	})
	e.put("more", nil)
	keys, _ := e.list(object.ListOptions{Prefix: "many/", Flat: true})
	e.same("the listing", keys, want)
	e.must("Delete", e.b.Delete(e.Context(), refs))
	keys, _ = e.list(object.ListOptions{Flat: true})
	e.same("the listing after the deletion", keys, []string{"more"})
}

// A listing has what was written before it, and lacks what was deleted before it.
func testListAfterChange(e *env) {
	for i := range 5 {
		key := fmt.Sprint("dir/", i)
		made := e.put(key, []byte(key))
		page, err := e.b.List(e.Context(), object.ListOptions{Prefix: "dir/"})
		e.must("List", err)
		if len(page.Objects) != 1 || page.Objects[0].Version != made.Version {
			e.Fatalf("List has %+v after %s was made", page.Objects, key)
		}
		e.must("Delete", e.b.Delete(e.Context(), []object.Ref{{Key: key}}))
		keys, prefixes := e.list(object.ListOptions{})
		e.same("after the deletion", append(keys, prefixes...), nil)
	}
}

// An object whose key ends in a slash stands for a directory. It is an object of its own.
func testDirectoryObjects(e *env) {
	e.put("dir/", nil)
	e.holds("dir/", nil)
	keys, prefixes := e.list(object.ListOptions{})
	e.same("the objects", keys, nil)
	e.same("the prefixes", prefixes, []string{"dir/"})
	e.put("dir/sub/", nil)
	e.put("dir/file", []byte("x"))
	keys, prefixes = e.list(object.ListOptions{Prefix: "dir/"})
	e.same("the objects below it", keys, []string{"dir/", "dir/file"})
	e.same("the prefixes below it", prefixes, []string{"dir/sub/"})
	keys, _ = e.list(object.ListOptions{Flat: true})
	e.same("all objects", keys, []string{"dir/", "dir/file", "dir/sub/"})
	e.must("Delete", e.b.Delete(e.Context(), []object.Ref{{Key: "dir/file"}, {Key: "dir/sub/"}}))
	keys, _ = e.list(object.ListOptions{Flat: true})
	e.same("all objects after the deletion of the others", keys, []string{"dir/"})
	e.must("Delete of the directory", e.b.Delete(e.Context(), []object.Ref{{Key: "dir/"}}))
	keys, prefixes = e.list(object.ListOptions{})
	e.same("after all deletions", append(keys, prefixes...), nil)
}
