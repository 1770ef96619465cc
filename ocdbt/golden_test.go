package ocdbt

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// goldenNames are the databases that testdata/gen.py makes.
var goldenNames = []string{
	"single_none", "single_zstd", "levels_none", "levels_zstd", "versions",
	"numbered", "empty", "binary", "emptykey", "orbax", "nested",
}

type goldenValue struct {
	Len    int64  `json:"len"`
	SHA256 string `json:"sha256"`
}

// golden returns a golden database and what it holds according to TensorStore.
func golden(t testing.TB, name string) (Source, map[string]goldenValue) {
	t.Helper()
	dir := filepath.Join("testdata", "golden", name)
	b, err := os.ReadFile(dir + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var latin1, want map[string]goldenValue
	if err := json.Unmarshal(b, &latin1); err != nil {
		t.Fatal(err)
	}
	want = make(map[string]goldenValue)
	for key, v := range latin1 {
		var raw []byte
		for _, r := range key {
			raw = append(raw, byte(r))
		}
		want[string(raw)] = v
	}
	return FS(os.DirFS(dir)), want
}

func checkGolden(t *testing.T, src Source, key string, v Value, want goldenValue) {
	t.Helper()
	b := v.Inline
	if !v.IsInline() {
		var err error
		if b, err = readRange(t.Context(), src, v.Ref.File, v.Ref.Offset, v.Ref.Length); err != nil {
			t.Fatal(err)
		}
	}
	sum := sha256.Sum256(b)
	if v.Len() != want.Len || hex.EncodeToString(sum[:]) != want.SHA256 {
		t.Errorf("%q: %d bytes %.40q, want %+v", key, v.Len(), b, want)
	}
}

func TestGolden(t *testing.T) {
	for _, name := range goldenNames {
		t.Run(name, func(t *testing.T) {
			src, want := golden(t, name)
			db := open(t, src)
			var keys []string
			for e, err := range db.Entries(t.Context(), "") {
				if err != nil {
					t.Fatal(err)
				}
				keys = append(keys, e.Key)
				checkGolden(t, src, e.Key, e.Value, want[e.Key])
				v, ok, err := db.Get(t.Context(), e.Key)
				if err != nil || !ok || !sameValue(v, e.Value) {
					t.Errorf("Get(%q) = %v, %v, %v, want %v", e.Key, v, ok, err, e.Value)
				}
			}
			if wantKeys := slices.Sorted(maps.Keys(want)); !slices.Equal(keys, wantKeys) {
				t.Errorf("keys %q\nwant %q", keys, wantKeys)
			}
			if n := db.Version().Root.Stats.Keys; n != uint64(len(want)) {
				t.Errorf("statistics say %d keys, there are %d", n, len(want))
			}
		})
	}
}

func TestGoldenShapes(t *testing.T) {
	db := func(name string) *DB {
		src, _ := golden(t, name)
		return open(t, src)
	}
	for _, name := range []string{"levels_none", "levels_zstd"} {
		if h := db(name).Version().Root.Height; h < 2 {
			t.Errorf("%s has height %d, want several levels", name, h)
		}
	}
	if !db("empty").Version().Root.Empty() {
		t.Error("empty has a root")
	}
	if !db("numbered").config.Numbered {
		t.Error("numbered has a single manifest")
	}
	if g := db("versions").Version().Generation; g != 12 {
		t.Errorf("versions: generation %d, want 12", g)
	}
	c := db("orbax").config
	if c.MaxInlineValueBytes != 1024 || c.MaxDecodedNodeBytes != 100_000_000 || c.VersionTreeArityLog2 != 4 || !c.Zstd || c.ZstdLevel != 0 {
		t.Errorf("orbax: got config %+v, want 1024 bytes inline, nodes of 100000000, arity 4, zstd at level 0", c)
	}
	big, _, err := db("orbax").Get(t.Context(), "big/c/0")
	if err != nil || !strings.HasPrefix(big.Ref.File, "ocdbt.process_0/d/") {
		t.Errorf("orbax: value in %+v, %v, want a file of the per-process database", big.Ref, err)
	}
}

// Nodes that TensorStore wrote without compression are encoded to the same bytes.
func TestEncodeLikeTensorStore(t *testing.T) {
	for _, name := range []string{"single_none", "levels_none", "versions", "numbered", "binary", "emptykey"} {
		t.Run(name, func(t *testing.T) {
			src, _ := golden(t, name)
			db := open(t, src)
			root, _ := db.root()
			items := reencode(t, db, root, true)
			if items.stats != db.Version().Root.Stats {
				t.Errorf("statistics %+v, want %+v", items.stats, db.Version().Root.Stats)
			}
		})
	}
}

// reencode checks the node at st and those below it, and returns the item for it
// in its parent.
func reencode(t *testing.T, db *DB, st subtree, isRoot bool) item {
	n, err := db.readNode(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	var items []item
	for k := newKeys(st.prefix, n); k.next(); {
		if n.height == 0 {
			items = append(items, item{key: string(k.key), value: n.value(k.i)})
		} else {
			child := reencode(t, db, n.child(st, k.i, string(k.key), ""), false)
			if child.key < string(k.key) {
				t.Errorf("first key %q of the child at %q", child.key, k.key)
			}
			child.key = string(k.key)
			items = append(items, child)
		}
	}
	h, common := int(n.height), 0
	if !isRoot {
		common = leaveOut(items, h)
	}
	if common != len(st.prefix) {
		t.Errorf("node leaves out %d bytes, want %q", common, st.prefix)
	}
	want, err := db.src.Read(t.Context(), st.ref.File, st.ref.Offset, st.ref.Length)
	if err != nil {
		t.Fatal(err)
	}
	got := encodeNode(items, h, common)
	if !bytes.Equal(got, want) {
		t.Errorf("encoded\n%x\nwant\n%x", got, want)
	}
	it := item{common: common, stats: total(items, h), value: Value{Ref: st.ref}, key: items[0].key}
	it.stats.TreeBytes += uint64(len(got))
	return it
}

// A manifest of Orbax holds the fields that Manifest writes, at the same places.
func TestManifestLikeOrbax(t *testing.T) {
	src, _ := golden(t, "orbax")
	b, err := src.Read(t.Context(), ManifestName, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	body, err := openEnvelope(b, manifestMagic)
	if err != nil {
		t.Fatal(err)
	}
	cfg, v, err := decodeManifest(b)
	if err != nil {
		t.Fatal(err)
	}
	got := Manifest(v.Root, cfg.UUID, v.CommitTime)
	if !bytes.Equal(got[envelopeHeader:len(got)-4], body) {
		t.Errorf("manifest\n%x\nwant\n%x", got[envelopeHeader:len(got)-4], body)
	}
	if n := binary.LittleEndian.Uint64(got[4:]); n != uint64(len(got)) {
		t.Errorf("length field %d, want %d", n, len(got))
	}
}
