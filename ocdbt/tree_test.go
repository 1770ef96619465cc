package ocdbt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax/internal/fault"
)

func drawEntries(t *rapid.T) []Entry {
	key := rapid.OneOf(
		rapid.StringMatching(`[ab]{0,6}`),
		rapid.StringMatching(`params\.layer_[0-9]{1,2}\.(kernel|bias)/(zarr\.json|c/[0-9]/[0-9])`),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 4), func(b []byte) string { return string(b) }),
	)
	value := rapid.OneOf(
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 20), func(b []byte) Value { return Value{Inline: b} }),
		rapid.Custom(func(t *rapid.T) Value {
			return Value{Ref: Ref{
				File:   rapid.StringMatching(`(ocdbt\.process_[01]/)?d/[0-9a-c]{1,3}`).Draw(t, "file"),
				Offset: rapid.Int64Range(0, 1<<62).Draw(t, "offset"),
				Length: rapid.Int64Range(0, 1<<62-1).Draw(t, "length"),
			}}
		}),
	)
	m := rapid.MapOfN(key, value, 0, 60).Draw(t, "entries")
	var entries []Entry
	for _, k := range slices.Sorted(maps.Keys(m)) {
		entries = append(entries, Entry{k, m[k]})
	}
	return entries
}

func TestRoundTrip(t *testing.T) {
	ctx := t.Context()
	rapid.Check(t, func(t *rapid.T) {
		entries := drawEntries(t)
		limit := rapid.SampledFrom([]int{1, 50, 100, 200, 1000, 0}).Draw(t, "limit")
		m := memSource{}
		root, err := WriteTree(slices.Values(entries), limit, m.place)
		if err != nil {
			t.Fatal(err)
		}
		checkStats(t, m, root, entries)
		m[ManifestName] = Manifest(root, [16]byte{1}, time.Unix(1, 2))
		db, err := Open(ctx, m)
		if err != nil {
			t.Fatal(err)
		}
		if v := db.Version(); v.Generation != 1 || !v.CommitTime.Equal(time.Unix(1, 2)) || v.Root != root {
			t.Fatalf("version %+v, want root %+v", v, root)
		}
		prefixes := []string{"", "a", "ab", "params.", "params.layer_1", "zz", rapid.StringN(0, 3, 3).Draw(t, "prefix")}
		for _, e := range entries {
			prefixes = append(prefixes, e.Key, e.Key[:len(e.Key)/2])
			v, ok, err := db.Get(ctx, e.Key)
			if err != nil || !ok || !sameValue(v, e.Value) {
				t.Fatalf("Get(%q) = %v, %v, %v, want %v", e.Key, v, ok, err, e.Value)
			}
		}
		for _, p := range prefixes {
			want := slices.DeleteFunc(slices.Clone(entries), func(e Entry) bool { return !strings.HasPrefix(e.Key, p) })
			got, err := list(ctx, db, p)
			if err != nil || !slices.EqualFunc(got, want, sameEntry) {
				t.Fatalf("Entries(%q): %v, %v\nwant %v", p, got, err, want)
			}
			_, found := slices.BinarySearchFunc(entries, p, func(e Entry, p string) int { return strings.Compare(e.Key, p) })
			if _, ok, err := db.Get(ctx, p); err != nil || ok != found {
				t.Fatalf("Get(%q): %v, %v, want %v", p, ok, err, found)
			}
		}
	})
}

func checkStats(t *rapid.T, m memSource, root Root, entries []Entry) {
	want := Stats{Keys: uint64(len(entries))}
	for _, b := range m {
		want.TreeBytes += uint64(len(b))
	}
	for _, e := range entries {
		want.ValueBytes = addSaturated(want.ValueBytes, uint64(e.Value.Ref.Length))
	}
	if root.Stats != want {
		t.Fatalf("statistics %+v, want %+v", root.Stats, want)
	}
}

// manyEntries returns entries like those of a large checkpoint, two thirds of
// them out of line.
func manyEntries(n int) []Entry {
	entries := make([]Entry, n)
	for i := range entries {
		e := &entries[i]
		leaf := []string{"c/0/0", "c/1/0", "zarr.json"}[i%3]
		e.Key = fmt.Sprintf("params.decoder.layers_%05d.attention.kernel/%s", i/3, leaf)
		if i%3 == 2 {
			e.Value.Inline = []byte(`{"shape":[1024,1024],"zarr_format":3}`)
		} else {
			e.Value.Ref = Ref{File: fmt.Sprintf("d/%032x", i/10_000), Offset: int64(i%10_000) << 22, Length: 1 << 22}
		}
	}
	return entries
}

func TestPrefixReadsOnlyOverlap(t *testing.T) {
	entries := manyEntries(3000)
	m := build(t, entries, 1000)
	reads := 0
	db := open(t, readFunc(func(ctx context.Context, name string, off, n int64) ([]byte, error) {
		reads++
		return m.Read(ctx, name, off, n)
	}))
	h := int(db.Version().Root.Height)
	if h < 2 {
		t.Fatalf("height %d, want several levels", h)
	}
	for _, c := range []struct {
		prefix     string
		want, most int
	}{
		{"params.decoder.layers_00500.", 3, 1 + h + 1},
		{"params.decoder.layers_00500.attention.kernel/zarr.json", 1, 1 + h},
		{"a", 0, 1},
		{"z", 0, h + 1},
	} {
		reads = 0
		if got := collect(t, db, c.prefix); len(got) != c.want {
			t.Errorf("%q: %d entries, want %d", c.prefix, len(got), c.want)
		}
		if reads > c.most {
			t.Errorf("%q: %d nodes read, want at most %d", c.prefix, reads, c.most)
		}
	}
	reads = 0
	for range db.Entries(t.Context(), "") {
		break
	}
	if reads != h+1 {
		t.Errorf("first entry: %d nodes read, want %d", reads, h+1)
	}
}

func TestWriteTreeRefuses(t *testing.T) {
	in := func(key string, n int) Entry { return Entry{key, Value{Inline: make([]byte, n)}} }
	out := func(file string, off, n int64) Entry { return Entry{"k", Value{Ref: Ref{file, off, n}}} }
	for _, c := range []struct {
		name    string
		entries []Entry
		is      error
		says    string
	}{
		{"descending", []Entry{in("b", 1), in("a", 1)}, nil, `"a" follows "b"`},
		{"twice", []Entry{in("b", 1), in("b", 1)}, fault.ErrKeyCollision, `"b" occurs twice`},
		{"twice empty", []Entry{in("", 1), in("", 1)}, fault.ErrKeyCollision, `"" occurs twice`},
		{"inline too long", []Entry{in("a", maxInline+1)}, nil, "inline value"},
		{"key too long", []Entry{in(strings.Repeat("k", maxKeyLength+1), 1)}, nil, "key of 65536 bytes"},
		{"path too long", []Entry{out(strings.Repeat("k", maxPathLength+1), 0, 1)}, nil, "path of 65536 bytes"},
		{"absolute", []Entry{out("/etc/passwd", 0, 1)}, fault.ErrReservedName, "/etc/passwd"},
		{"dot dot", []Entry{out("d/../../x", 0, 1)}, fault.ErrReservedName, "d/../../x"},
		{"no file", []Entry{out("", 3, 1)}, nil, "refers to no file"},
		{"negative", []Entry{out("d", -1, 1)}, nil, "offset -1"},
		{"overflow", []Entry{out("d", 1<<62, 1<<62)}, nil, "not a range"},
		{"both", []Entry{{"k", Value{Inline: []byte{1}, Ref: Ref{File: "d"}}}}, nil, "both inline and in"},
	} {
		_, err := WriteTree(slices.Values(c.entries), 0, memSource{}.place)
		if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error %v, want %v and %q", c.name, err, c.is, c.says)
		}
	}
	for name, place := range map[string]Placer{
		"fails":  func([]byte) (Ref, error) { return Ref{}, fs.ErrPermission },
		"short":  func(b []byte) (Ref, error) { return Ref{File: "d", Length: int64(len(b)) - 1}, nil },
		"astray": func(b []byte) (Ref, error) { return Ref{File: "../d", Length: int64(len(b))}, nil },
	} {
		if _, err := WriteTree(slices.Values([]Entry{in("a", 1)}), 0, place); err == nil {
			t.Errorf("placer that %s: no error", name)
		}
	}
}

// Limits of the format are inclusive.
func TestLargest(t *testing.T) {
	long := strings.Repeat("k", maxKeyLength-1)
	path := strings.Repeat("p", maxPathLength)
	entries := []Entry{
		{long, Value{Inline: make([]byte, maxInline)}},
		{long + "a", Value{Ref: Ref{path, 1<<63 - 1, 0}}},
		{long + "b", Value{Ref: Ref{path, 0, 1<<63 - 1}}},
		{"l", Value{}},
	}
	for _, limit := range []int{1, 0} {
		sameEntries(t, collect(t, open(t, build(t, entries, limit)), ""), entries)
	}
}

func BenchmarkEntries(b *testing.B) {
	const n = 100_000
	m := build(b, manyEntries(n), 0)
	db := open(b, m)
	b.ReportAllocs()
	for b.Loop() {
		count := 0
		for e, err := range db.Entries(b.Context(), "") {
			if err != nil || len(e.Key) == 0 {
				b.Fatal(err)
			}
			count++
		}
		if count != n {
			b.Fatal(count)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/entry")
}

func BenchmarkGet(b *testing.B) {
	entries := manyEntries(100_000)
	db := open(b, build(b, entries, 64<<10))
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i = (i + 7919) % len(entries)
		if _, ok, err := db.Get(b.Context(), entries[i].Key); !ok || err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWriteTree(b *testing.B) {
	const n = 100_000
	entries := manyEntries(n)
	place := func(node []byte) (Ref, error) { return Ref{File: "d/x", Length: int64(len(node))}, nil }
	b.ReportAllocs()
	for b.Loop() {
		if _, err := WriteTree(slices.Values(entries), 0, place); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/entry")
}
