package ocdbt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
)

// readAll opens the database and reads all entries.
func readAll(t testing.TB, src Source) error {
	t.Helper()
	db, err := Open(t.Context(), src)
	if err != nil {
		return err
	}
	_, err = list(t.Context(), db, "")
	return err
}

func TestEveryBitFlip(t *testing.T) {
	m := build(t, manyEntries(12), 200)
	if err := readAll(t, m); err != nil {
		t.Fatal(err)
	}
	for name, b := range m {
		for i := range b {
			for bit := range 8 {
				b[i] ^= 1 << bit
				if err := readAll(t, m); !errors.Is(err, fault.ErrCorrupt) {
					t.Errorf("%s: bit %d of byte %d flipped: error %v, want corrupt", name, bit, i, err)
				}
				b[i] ^= 1 << bit
			}
		}
	}
}

func TestEveryTruncation(t *testing.T) {
	m := build(t, manyEntries(12), 200)
	for name, b := range m {
		for i := range b {
			m[name] = b[:i]
			err := readAll(t, m)
			if !errors.Is(err, fault.ErrCorrupt) || !strings.Contains(err.Error(), name) {
				t.Errorf("%s cut to %d bytes: error %v, want corrupt", name, i, err)
			}
		}
		m[name] = b
	}
	m[ManifestName] = append(m[ManifestName], 0)
	if err := readAll(t, m); !errors.Is(err, fault.ErrCorrupt) {
		t.Errorf("byte after the manifest: error %v, want corrupt", err)
	}
}

func TestMissingFiles(t *testing.T) {
	err := readAll(t, memSource{})
	if !errors.Is(err, fs.ErrNotExist) || !errors.Is(err, fault.ErrNotExist) {
		t.Errorf("no manifest: error %v, want not exist", err)
	}
	m := build(t, manyEntries(12), 200)
	for name := range maps.Clone(m) {
		b := m[name]
		delete(m, name)
		err := readAll(t, m)
		if want := name == ManifestName; err == nil || errors.Is(err, fs.ErrNotExist) != want || errors.Is(err, fault.ErrCorrupt) == want {
			t.Errorf("%s missing: error %v", name, err)
		}
		m[name] = b
	}
}

func TestGitLFSPointers(t *testing.T) {
	pointer := []byte("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 604153\n")
	m := build(t, manyEntries(12), 200)
	for name, b := range m {
		m[name] = pointer
		err := readAll(t, m)
		if !errors.Is(err, fault.ErrIncomplete) || !strings.Contains(err.Error(), "git lfs pull") || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v, want one that names git lfs pull", name, err)
		}
		m[name] = b
	}
}

// withNodes returns a database of a root node in the file "root" and a leaf in
// the file "leaf".
func withNodes(height uint8, root, leaf []byte) memSource {
	r := Root{Ref: Ref{File: "root", Length: int64(len(root))}, Height: height}
	return memSource{ManifestName: Manifest(r, [16]byte{}, time.Unix(1, 0)), "root": root, "leaf": leaf}
}

func inlineItem(key string) item { return item{key: key, value: Value{Inline: []byte(key)}} }

func TestTreeStructure(t *testing.T) {
	leaf := encodeNode([]item{inlineItem("b"), inlineItem("c")}, 0, 0)
	child := func(key string, common int) item {
		return item{key: key, common: common, value: Value{Ref: Ref{"leaf", 0, int64(len(leaf))}}}
	}
	parent := func(h int, items ...item) []byte { return encodeNode(items, h, 0) }
	for _, c := range []struct {
		name   string
		height uint8
		root   []byte
		says   string // "" for a sound tree
	}{
		{"sound", 1, parent(1, child("b", 0)), ""},
		{"parent's least key is less", 1, parent(1, child("a", 0)), ""},
		{"prefix", 1, parent(1, child("ab", 1)), ""},
		{"first key below the parent's", 1, parent(1, child("bb", 0)), `first key "b" is less than "bb"`},
		{"last key beyond the next", 1, parent(1, child("b", 0), child("c", 0)), `last key "c" is not less than "c"`},
		{"shared child", 1, parent(1, child("ab", 1), child("b", 0)), "second time"},
		{"root too high", 2, parent(1, child("b", 0)), "height 1, the parent says 2"},
		{"root too low", 0, parent(1, child("b", 0)), "height 1, the parent says 0"},
		{"child too low", 2, parent(2, child("b", 0)), "height 0, the parent says 1"},
	} {
		err := readAll(t, withNodes(c.height, c.root, leaf))
		if c.says == "" && err != nil || c.says != "" && !(errors.Is(err, fault.ErrCorrupt) && strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.says)
		}
	}

	// A node that is its own child.
	self := parent(1, item{key: "a", value: Value{Ref: Ref{"root", 0, 36}}})
	if len(self) != 36 {
		t.Fatalf("node has %d bytes", len(self))
	}
	err := readAll(t, withNodes(1, self, nil))
	if !errors.Is(err, fault.ErrCorrupt) || !strings.Contains(err.Error(), "second time") {
		t.Errorf("cycle: error %v", err)
	}
	if _, _, err := open(t, withNodes(1, self, nil)).Get(t.Context(), "a"); !errors.Is(err, fault.ErrCorrupt) {
		t.Errorf("Get in a cycle: error %v", err)
	}
}

// Nodes whose fields contradict each other or claim more than there is.
func TestMalformedNodes(t *testing.T) {
	for _, c := range []struct{ name, body, says string }{
		{"nothing", "", "height: no bytes left"},
		{"no entries", "00 00 00", "no entries"},
		{"too many entries", "00 00 8180c000", "exceeds the limit of 1048576"},
		{"entries beyond the input", "00 00 ffff3f", "cannot fit"},
		{"files beyond the input", "00 ffffffffffffffff7f", "cannot fit"},
		{"varint too long", "00 ffffffffffffffffffff01", "exceeds 64 bits"},
		{"varint cut", "00 ff", "incomplete varint"},
		{"left over", "00 00 01 01 61 00 00 ff", "1 bytes left over"},
		{"descending keys", "00 00 02 00 01 01 62 61 00 00 00 00", "key 1 does not ascend"},
		{"equal keys", "00 00 02 01 01 00 61 00 00 00 00", "key 1 does not ascend"},
		{"prefix too long", "00 00 02 02 01 01 61 61 00 00 00 00", "exceeds the previous key's length 1"},
		{"key suffix beyond the input", "00 00 01 ffff03 61 00 00", "key suffixes: 65535 bytes needed"},
		{"unknown kind", "00 00 01 01 61 00 02", "kind 2"},
		{"inline beyond the input", "00 00 01 01 61 05 00 61", "inline values: 5 bytes needed"},
		{"inline beyond the limit", "00 00 01 01 61 818040 00 61", "exceeds the limit of 1048576"},
		{"no such file", "00 00 01 01 61 05 01 00 00", "outside the table of 0 files"},
		{"empty path", "00 01 00 00 01 01 61 05 01 00 00", "empty path"},
		{"range overflow", "00 01 01 00 78 01 01 61 feffffffffffffff7f 01 00 02", "value offset: 2 exceeds the limit of 1"},
		{"common prefix too long", "01 01 01 00 78 01 01 02 61 00 00 10 00 00 00", "subtree common prefix length 2"},
		{"child range overflow", "01 01 01 00 78 01 01 01 61 00 feffffffffffffff7f 02 00 00 00", "length: 2 exceeds the limit of 1"},
		{"base beyond the path", "00 01 01 02 78 01 01 61 00 00", "base path length 2 exceeds path length 1"},
		{"path prefix beyond the path", "00 02 02 01 01 00 00 78 79 01 01 61 00 00", "exceeds the previous path's length 1"},
		{"path prefix beyond the base", "00 02 01 02 01 00 01 7878 79 01 01 61 00 00", "exceeds a base path"},
	} {
		_, err := decodeNode(unhex(t, c.body), "")
		if !errors.Is(err, fault.ErrCorrupt) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.says)
		}
	}
	for _, path := range []string{"/x", "../x", "d/../x", "d/..", "./x", ".", "..", "d//x", "d/", "d\x00x"} {
		body := appendTable([]byte{0}, []string{path})
		body = append(body, unhex(t, "01 01 61 05 01 00 00")...)
		if _, err := decodeNode(body, ""); !errors.Is(err, fault.ErrCorrupt) {
			t.Errorf("path %q: error %v, want corrupt", path, err)
		}
	}
	// Joined to a base path, a harmless path may become harmful.
	body := append(appendTable([]byte{0}, []string{"./x"}), unhex(t, "01 01 61 05 01 00 00")...)
	if _, err := decodeNode(body, "sub/."); !errors.Is(err, fault.ErrCorrupt) {
		t.Errorf("path ./x below sub/.: error %v, want corrupt", err)
	}
}

// A table in which each path repeats a long one would decode to far more than
// its size.
func TestTableExpansion(t *testing.T) {
	const n = 10_000
	b := binary.AppendUvarint(nil, n)
	for range n - 1 {
		b = binary.AppendUvarint(b, 60_000)
	}
	b = binary.AppendUvarint(b, 60_001)
	for range n - 1 {
		b = append(b, 0)
	}
	b = append(b, make([]byte, n)...)
	b = append(b, bytes.Repeat([]byte("x"), 60_001)...)
	c := &cursor{b: b}
	if readTable(c, ""); c.err == nil || !strings.Contains(c.err.Error(), "too long for its size") {
		t.Errorf("error %v", c.err)
	}
}

// A node in which each key repeats a long one would decode to far more than its
// size.
func TestKeyExpansion(t *testing.T) {
	var items []item
	key := strings.Repeat("k", 60_000)
	for i := range 1000 {
		items = append(items, item{key: key + string([]byte{byte(i >> 8), byte(i)})})
	}
	err := readAll(t, withNodes(0, encodeNode(items, 0, 0), nil))
	if !errors.Is(err, fault.ErrCorrupt) || !strings.Contains(err.Error(), "keys are too long for a node of") {
		t.Errorf("error %v", err)
	}
}

func TestMalformedManifests(t *testing.T) {
	const head = "000102030405060708090a0b0c0d0e0f 00 8008 80c2d72f 04 00"
	const table = "01 01 00 78"
	const root = "00 00 00 10 00 00 00 0000000000000000"
	missing := strings.Repeat("ff", 9) + "01"
	for _, c := range []struct{ name, body, says string }{
		{"nothing", "", "uuid: 16 bytes needed"},
		{"kind", strings.Replace(head, "0f 00", "0f 02", 1) + table, "manifest kind 2"},
		{"arity", strings.Replace(head, "04 00", "11 00", 1) + table, "version_tree_arity_log2 17"},
		{"compression", strings.Replace(head, "04 00", "04 02", 1) + table, "compression method"},
		{"no versions", head + table + "00 00", "no versions"},
		{"too many versions", head + table + "11", "exceeds the limit of 16"},
		{"generation zero", head + table + "01 00" + root + "00", "generation number 0 follows 0"},
		{"file index", head + table + "01 01 00 01 00 10 00 00 00 0000000000000000 00", "outside the table of 1 files"},
		{"range overflow", head + table + "01 01 00 00 ffffffffffffffff7f 01 00 00 00 0000000000000000 00", "beyond 2^63-1"},
		{"half missing", head + table + "01 01 00 00" + missing + "01 00 00 00 0000000000000000 00", "beyond 2^63-1"},
		{"missing with height", head + table + "01 01 01 00" + missing + missing + "00 00 00 0000000000000000 00", "the root is missing"},
		{"missing with keys", head + table + "01 01 00 00" + missing + missing + "01 00 00 0000000000000000 00", "the root is missing"},
		{"version nodes", head + table + "01 01" + root + "7f", "number of version nodes"},
		{"far generations", head + table + "02 10 11 0000 0000 0000 1010 0000 0000 0000" + strings.Repeat("00", 16) + "00", "do not belong in the same node"},
		{"left over", head + table + "01 01" + root + "00 00", "1 bytes left over"},
	} {
		b := endEnvelope(append(beginEnvelope(manifestMagic, 0), unhex(t, c.body)...))
		_, _, err := decodeManifest(b)
		if !errors.Is(err, fault.ErrCorrupt) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.says)
		}
	}
}
