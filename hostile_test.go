package orbax_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/ocdbt"
	"github.com/go-orbax/orbax/zarr"
)

// foreign removes the digests, so that documents can be changed at will as
// another writer's could be.
func foreign(f files) files {
	f = f.with("digests.sha256", nil)
	for _, name := range f.names() {
		if strings.HasPrefix(path.Base(name), "go-orbax.") {
			f = f.with(name, nil)
		}
	}
	return f
}

// bounded loads and verifies f, both of which must fail, soon and without taking
// much memory.
func bounded(t *testing.T, name string, f files, limit uint64) {
	t.Helper()
	for op, run := range map[string]func(context.Context, files) error{
		"load":   func(ctx context.Context, f files) error { _, err := loadFiles(ctx, f); return err },
		"verify": verifyFiles,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := run(ctx, f)
		runtime.ReadMemStats(&after)
		cancel()
		if err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %s: %v", name, op, err)
		}
		if !isAny(err, orbax.ErrCorrupt, orbax.ErrUnsupported, orbax.ErrStructure, orbax.ErrShape, orbax.ErrDType, orbax.ErrIncomplete, orbax.ErrKeyCollision) {
			t.Errorf("%s: %s: %v is of no class", name, op, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > limit {
			t.Errorf("%s: %s allocates %d MiB", name, op, n>>20)
		}
	}
}

func isAny(err error, targets ...error) bool {
	return slices.ContainsFunc(targets, func(t error) bool { return errors.Is(err, t) })
}

// edit changes a member of a JSON document; a path leads to it.
func edit(t *testing.T, doc []byte, v any, path ...any) []byte {
	t.Helper()
	var root any
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber()
	if err := dec.Decode(&root); err != nil {
		t.Fatal(err)
	}
	at := root
	for i, p := range path {
		last := i == len(path)-1
		switch p := p.(type) {
		case string:
			if last {
				at.(map[string]any)[p] = v
			}
			at = at.(map[string]any)[p]
		case int:
			if last {
				at.([]any)[p] = v
			}
			at = at.([]any)[p]
		}
	}
	out, err := json.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestHostileArrayDocuments(t *testing.T) {
	const limit = 4 << 20
	for name, s := range formats {
		if !s.PlainFiles {
			continue
		}
		f, _ := save(t, map[string]any{"state": map[string]any{"a": array.Of(make([]float32, 12), 3, 4)}}, s)
		f = foreign(f)
		file, chunk := "state/a/zarr.json", []any{"chunk_grid", "configuration", "chunk_shape"}
		if s.Zarr2 {
			file, chunk = "state/a/.zarray", []any{"chunks"}
		}
		doc := f[file]
		for _, big := range []int{1 << 20, 1 << 31, 1 << 40, 1 << 53, 1 << 62, 1<<63 - 1} {
			both := edit(t, edit(t, doc, []int{big, 4}, "shape"), []int{big, 4}, chunk...)
			for what, d := range map[string][]byte{
				"rows":        edit(t, doc, []int{big, 4}, "shape"),
				"both":        edit(t, doc, []int{big, big}, "shape"),
				"chunk":       edit(t, doc, []int{big, 4}, chunk...),
				"one chunk":   both,
				"many chunks": edit(t, edit(t, doc, []int{big, 4}, "shape"), []int{1, 1}, chunk...),
			} {
				bounded(t, fmt.Sprint(name, " ", what, " ", big), f.with(file, d), limit)
			}
		}
		ones := slices.Repeat([]int{1}, 10_000)
		for what, d := range map[string][]byte{
			"negative":       edit(t, doc, []int{-3, 4}, "shape"),
			"rank":           edit(t, edit(t, doc, ones, "shape"), ones, chunk...),
			"rank mismatch":  edit(t, doc, []int{3}, "shape"),
			"zero chunk":     edit(t, doc, []int{0, 4}, chunk...),
			"negative chunk": edit(t, doc, []int{-1, 4}, chunk...),
			"fraction":       edit(t, doc, []float64{1.5, 4}, "shape"),
			"nested":         []byte(strings.Repeat("[", 100_000)),
			"empty":          {},
			"truncated":      doc[:len(doc)/2],
		} {
			bounded(t, name+" "+what, f.with(file, d), limit)
		}
	}
}

// A zstd frame that claims more than it has.
func TestHostileChunk(t *testing.T) {
	f, _ := save(t, map[string]any{"state": map[string]any{"a": array.Of(make([]float32, 12), 3, 4)}},
		handler.StorageOptions{ArrayOptions: handler.ArrayOptions{Compression: zarr.Zstd(3)}, PlainFiles: true})
	f = foreign(f)
	const file = "state/a/c/0/0"
	frame := func(size uint64) []byte {
		b := []byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0}
		for i := range 8 {
			b = append(b, byte(size>>(8*i)))
		}
		return append(b, 1, 0, 0)
	}
	for _, size := range []uint64{0, 47, 49, 1 << 30, 1 << 40, 1 << 63, 1<<64 - 1} {
		bounded(t, fmt.Sprint("frame of ", size), f.with(file, frame(size)), 2<<20)
	}
}

func TestHostileTreeDocuments(t *testing.T) {
	f, _ := save(t, map[string]any{"state": map[string]any{"a": 1, "b": "x"}}, handler.StorageOptions{PlainFiles: true})
	f = foreign(f)
	const file = "state/_METADATA"
	doc := f[file]
	key := func(k string, kind int) map[string]any { return map[string]any{"key": k, "key_type": kind} }
	deep := slices.Repeat([]any{key("k", 2)}, testenv.Pick(1_000_000, 100_000))
	empty := map[string]any{"value_type": "None", "skip_deserialize": true}
	text := map[string]any{"value_type": "string", "skip_deserialize": false}
	entry := func(value any, keys ...any) map[string]any {
		return map[string]any{"key_metadata": keys, "value_metadata": value}
	}
	for what, leaves := range map[string]map[string]any{
		"deep":          {"x": entry(empty, deep...)},
		"deep and a":    {"x": entry(empty, deep...), "y": entry(text, key("b", 2))},
		"twice":         {"x": entry(text, key("b", 2)), "y": entry(text, key("b", 2))},
		"leaf and dict": {"x": entry(text, key("b", 2)), "y": entry(empty, key("b", 2), key("c", 2))},
		"sparse list":   {"x": entry(empty, key("l", 2), key("1000000000000", 1))},
		"bad index":     {"x": entry(empty, key("l", 2), key("-1", 1))},
		"list and dict": {"x": entry(empty, key("l", 2), key("0", 1)), "y": entry(empty, key("l", 2), key("k", 2))},
		"no string":     {"x": entry(text, key("zz", 2))},
		"no array":      {"x": entry(map[string]any{"value_type": "np.ndarray", "skip_deserialize": false}, key("zz", 2))},
		"odd empty":     {"x": entry(map[string]any{"value_type": "Odd", "skip_deserialize": true}, key("zz", 2))},
	} {
		hostile := edit(t, doc, leaves, "tree_metadata")
		bounded2(t, what, f.with(file, hostile), uint64(4<<20+20*len(hostile)))
	}
}

// bounded2 is bounded for trees that only a load has reason to refuse.
func bounded2(t *testing.T, name string, f files, limit uint64) {
	t.Helper()
	start := time.Now()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := loadFiles(t.Context(), f)
	runtime.ReadMemStats(&after)
	if !isAny(err, orbax.ErrCorrupt, orbax.ErrUnsupported, orbax.ErrStructure, orbax.ErrKeyCollision) {
		t.Errorf("%s: %v", name, err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > limit {
		t.Errorf("%s: allocates %d MiB", name, n>>20)
	}
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("%s: takes %v", name, d)
	}
	if err != nil && len(err.Error()) > 10_000 {
		t.Errorf("%s: an error message of %d bytes", name, len(err.Error()))
	}
}

// Names in a checkpoint must not lead out of it.
func TestEscapes(t *testing.T) {
	plain, _ := save(t, map[string]any{"state": map[string]any{"a": 1}, "secret": map[string]any{"a": 2}}, handler.StorageOptions{PlainFiles: true})
	plain = foreign(plain)
	for _, name := range []string{"../secret/a", "/secret/a", "a/../../secret/a", "..", "./a", "a//", "a/.", `..\secret\a`} {
		leaf := map[string]any{"x": map[string]any{
			"key_metadata":   []any{map[string]any{"key": name, "key_type": 2}},
			"value_metadata": map[string]any{"value_type": "scalar", "skip_deserialize": false},
		}}
		f := plain.with("state/_METADATA", edit(t, plain["state/_METADATA"], leaf, "tree_metadata"))
		bounded(t, name, f, 2<<20)
	}
	db, _ := save(t, map[string]any{"state": map[string]any{"a": make([]int64, 200)}, "secret": map[string]any{"a": make([]int64, 200)}}, handler.StorageOptions{})
	db = foreign(db)
	data, at := dataFile(t, db, "secret")
	// Package ocdbt refuses references that lead out; this one leads nowhere.
	absent := rebuild(t, db, func(e *ocdbt.Entry) {
		if e.Value.Ref.File != "" {
			e.Value.Ref = ocdbt.Ref{File: "secret/" + data, Offset: at.Offset, Length: at.Length}
		}
	})
	bounded(t, "another part's file", absent, 2<<20)
	for what, ref := range map[string]ocdbt.Ref{
		"long":   {Offset: 0, Length: 1 << 50},
		"far":    {Offset: 1 << 50, Length: at.Length},
		"at end": {Offset: 4000, Length: at.Length},
		"short":  {Offset: 0, Length: 4},
		"empty":  {Offset: 0, Length: 0},
	} {
		f := rebuild(t, db, func(e *ocdbt.Entry) {
			if e.Value.Ref.File != "" {
				ref.File = e.Value.Ref.File
				e.Value.Ref = ref
			}
		})
		bounded(t, what, f, 2<<20)
	}
	inline := rebuild(t, db, func(e *ocdbt.Entry) {
		if e.Value.Ref.File != "" {
			e.Value = ocdbt.Value{Inline: []byte{}}
		}
	})
	bounded(t, "inline and empty", inline, 2<<20)
}

// open opens the database of a part.
func (f files) open(t *testing.T, part string) *ocdbt.DB {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, b := range f {
		if rest, ok := strings.CutPrefix(name, part+"/"); ok {
			fsys[rest] = &fstest.MapFile{Data: b}
		}
	}
	db, err := ocdbt.Open(t.Context(), ocdbt.FS(fsys))
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func dataFile(t *testing.T, f files, part string) (string, ocdbt.Ref) {
	t.Helper()
	for e, err := range f.open(t, part).Entries(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if e.Value.Ref.File != "" {
			return e.Value.Ref.File, e.Value.Ref
		}
	}
	t.Fatal("no value is out of line")
	return "", ocdbt.Ref{}
}

// rebuild writes the database of "state" anew with changed entries.
func rebuild(t *testing.T, f files, change func(*ocdbt.Entry)) files {
	t.Helper()
	var entries []ocdbt.Entry
	for e, err := range f.open(t, "state").Entries(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		change(&e)
		entries = append(entries, e)
	}
	f = maps.Clone(f)
	var nodes []byte
	root, err := ocdbt.WriteTree(slices.Values(entries), 0, func(node []byte) (ocdbt.Ref, error) {
		ref := ocdbt.Ref{File: "d/nodes", Offset: int64(len(nodes)), Length: int64(len(node))}
		nodes = append(nodes, node...)
		return ref, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	f["state/d/nodes"] = nodes
	f["state/manifest.ocdbt"] = ocdbt.Manifest(root, [16]byte{1}, time.Now())
	return f
}

// FuzzLoad changes a file of a small checkpoint. Nothing may panic, and what is
// accepted must be what was saved: always by Verify where there are digests.
func FuzzLoad(f *testing.F) {
	type seed struct {
		files files
		want  map[string]any
	}
	var seeds []seed
	for _, name := range slices.Sorted(maps.Keys(formats)) {
		fs, want := save(f, smallItems(f), formats[name])
		seeds = append(seeds, seed{fs, want})
	}
	for _, fs := range msgpackFiles() {
		want, err := loadFuzzed(f.Context(), fs)
		if err != nil {
			f.Fatal(err)
		}
		seeds = append(seeds, seed{fs, want})
	}
	for i, s := range seeds {
		for j := range s.files.names() {
			f.Add(uint8(i), uint8(j), uint16(10), uint16(1), []byte{0xff}, true)
			f.Add(uint8(i), uint8(j), uint16(3), uint16(0), []byte("..."), false)
			f.Add(uint8(i), uint8(j), uint16(30), uint16(4000), []byte{}, false)
		}
	}
	f.Fuzz(func(t *testing.T, format, file uint8, at, remove uint16, insert []byte, digests bool) {
		s := seeds[int(format)%len(seeds)]
		names := s.files.names()
		name := names[int(file)%len(names)]
		old := s.files[name]
		lo := min(int(at), len(old))
		hi := min(lo+int(remove), len(old))
		changed := append([]byte{}, slices.Concat(old[:lo], insert, old[hi:])...)
		damaged := s.files.with(name, changed)
		if _, ok := s.files["digests.sha256"]; !ok {
			digests = false // of old versions, which have none
		}
		if !digests {
			damaged = foreign(damaged)
		}
		got, err := loadFuzzed(t.Context(), damaged)
		verr := verifyFiles(t.Context(), damaged)
		if digests && err == nil && !same(got, s.want) {
			t.Errorf("%s: loaded %v", name, got)
		}
		if digests && verr == nil && !bytes.Equal(changed, old) && !headerOnly(old, changed) {
			t.Errorf("%s: Verify accepts a change at %d", name, lo)
		}
	})
}

// msgpackFiles are checkpoints of old versions, whose tree is a file of MessagePack: one
// with all arrays in it, one with arrays beside it.
func msgpackFiles() []files {
	str := func(s string) string { return string([]byte{0xd9, byte(len(s))}) + s }
	array := "\x93\x92\x02\x01" + str("float32") + "\xc4\x0812345678"
	values := "\x86" + str("w") + string([]byte{0xc7, byte(len(array)), 1}) + array +
		str("n") + "\x07" + str("f") + "\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00" + str("l") + "\x92\xc0\xc3" +
		str("s") + str("text") + str("d") + "\x81" + str("b") + "\xc4\x02xy"
	return []files{
		{"checkpoint": []byte(values)},
		{
			"checkpoint": []byte("\x82" + str("a") + str("PLACEHOLDER://a") + str("n") + "\x07"),
			"a/.zarray":  []byte(plainZarray),
			"a/0":        make([]byte, 8),
		},
	}
}

// loadFuzzed loads what has several checkpointables, or, of old versions, one without a
// name.
func loadFuzzed(ctx context.Context, f files) (map[string]any, error) {
	if _, ok := f["checkpoint"]; !ok {
		return loadFiles(ctx, f)
	}
	v, err := orbax.Load(ctx, "ckpt", f.in())
	return map[string]any{"": v}, err
}

// headerOnly reports whether only bits that nothing reads differ.
func headerOnly(old, changed []byte) bool {
	if len(old) != len(changed) {
		return false
	}
	for bit := range 8 * len(old) {
		if (old[bit/8]^changed[bit/8])>>(bit%8)&1 != 0 && !unread(old, bit) && !unread(changed, bit) {
			return false
		}
	}
	return true
}

const plainZarray = `{"zarr_format":2,"shape":[2],"chunks":[2],"dtype":"<f4","compressor":null,"fill_value":0,"order":"C","filters":null}`
