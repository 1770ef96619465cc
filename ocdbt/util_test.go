package ocdbt

import (
	"bytes"
	"context"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
)

// memSource is a database in memory.
type memSource map[string][]byte

func (m memSource) Read(_ context.Context, name string, off, n int64) ([]byte, error) {
	b, ok := m[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	b = b[min(off, int64(len(b))):]
	if n >= 0 {
		b = b[:min(n, int64(len(b)))]
	}
	return bytes.Clone(b), nil
}

func (m memSource) List(_ context.Context, prefix string) (names []string, err error) {
	for name := range m {
		if strings.HasPrefix(name, prefix) && !strings.Contains(name, "/") {
			names = append(names, name)
		}
	}
	return names, nil
}

// readFunc is a Source of one function, which cannot list.
type readFunc func(ctx context.Context, name string, off, n int64) ([]byte, error)

func (f readFunc) Read(ctx context.Context, name string, off, n int64) ([]byte, error) {
	return f(ctx, name, off, n)
}

func (f readFunc) List(context.Context, string) ([]string, error) {
	return nil, fault.ErrUnsupported
}

// place appends nodes to a few files in turn.
func (m memSource) place(node []byte) (Ref, error) {
	name := []string{"d/nodes", "d/more", "x"}[len(node)%3]
	ref := Ref{File: name, Offset: int64(len(m[name])), Length: int64(len(node))}
	m[name] = append(m[name], node...)
	return ref, nil
}

// build writes a database of the entries.
func build(t testing.TB, entries []Entry, maxNodeBytes int) memSource {
	t.Helper()
	m := memSource{}
	root, err := WriteTree(slices.Values(entries), maxNodeBytes, m.place)
	if err != nil {
		t.Fatal(err)
	}
	m[ManifestName] = Manifest(root, [16]byte{1}, time.Unix(1, 2))
	return m
}

func open(t testing.TB, src Source) *DB {
	t.Helper()
	db, err := Open(t.Context(), src)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func collect(t testing.TB, db *DB, prefix string) []Entry {
	t.Helper()
	entries, err := list(t.Context(), db, prefix)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func list(ctx context.Context, db *DB, prefix string) (entries []Entry, err error) {
	for e, err := range db.Entries(ctx, prefix) {
		if err != nil {
			return entries, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

func sameEntries(t testing.TB, got, want []Entry) {
	t.Helper()
	if !slices.EqualFunc(got, want, sameEntry) {
		t.Fatalf("got %d entries, want %d:\n%.2000v\nwant\n%.2000v", len(got), len(want), got, want)
	}
}

func sameEntry(a, b Entry) bool { return a.Key == b.Key && sameValue(a.Value, b.Value) }

func sameValue(a, b Value) bool {
	return a.Ref == b.Ref && bytes.Equal(a.Inline, b.Inline)
}
