package layout

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
)

// rewritable is the metadata of a checkpoint, and the digest file beside it.
func rewritable(t testing.TB) (doc []byte, d *Digests) {
	t.Helper()
	m := CheckpointMetadata{
		Handlers: map[string]string{"state": "o.PyTreeHandler", "cfg": "o.JsonHandler", "new\nline": "mine: \"x\"", "metrics": "o.MetricsHandler"},
		InitTime: time.Unix(1, 2), CommitTime: time.Unix(3, 4),
		Custom: json.RawMessage(`{"z": 1e-7, "a": ["ä", 1e22, {"y": null, "b": 3.0}]}`),
	}
	doc, err := m.Document()
	if err != nil {
		t.Fatal(err)
	}
	d = &Digests{}
	d.Add("state/_METADATA", sha256.Sum256(nil))
	d.Add("cfg/data.json", sha256.Sum256(nil))
	d.Add("metrics/metrics", sha256.Sum256(nil))
	d.AddCheckpoint(doc)
	return doc, d
}

// deleted returns metadata after the deletion of a checkpointable by Orbax.
func deleted(t testing.TB, doc []byte, name string) []byte {
	t.Helper()
	r, err := NewDeletion(doc, name)
	if err != nil {
		t.Fatal(err)
	}
	if doc, err = r.Metadata(); err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestProofIsRead(t *testing.T) {
	_, d := rewritable(t)
	file := d.Document()
	if s := string(file); !strings.Contains(s, "\n# handler of \"new\\nline\": \"mine: \\\"x\\\"\"\n") {
		t.Errorf("document %s", s)
	}
	got, err := ParseDigests(file)
	if err != nil || !bytes.Equal(got.Document(), file) {
		t.Fatalf("became %s, %v", got.Document(), err)
	}
}

// What Orbax makes of the metadata is accepted, deletion after deletion, and no bit
// may differ; nor may anything be gone that Orbax does not delete.
func TestRewritten(t *testing.T) {
	doc, d := rewritable(t)
	check := func(doc []byte, want ...string) {
		t.Helper()
		if got, err := d.Rewritten(doc); err != nil || !slices.Equal(got, want) {
			t.Fatalf("%s: %q, %v", doc, got, err)
		}
		if len(want) == 0 {
			return
		}
		for bit := range 8 * len(doc) {
			b := bytes.Clone(doc)
			b[bit/8] ^= 1 << (bit % 8)
			if got, err := d.Rewritten(b); !errors.Is(err, fault.ErrCorrupt) || got != nil {
				t.Fatalf("bit %d of byte %d of %s: %q, %v", bit%8, bit/8, doc, got, err)
			}
		}
	}
	check(doc)
	one := deleted(t, doc, "cfg")
	check(one, "cfg")
	check(deleted(t, one, "new\nline"), "cfg", "new\nline")
	check(deleted(t, deleted(t, doc, "new\nline"), "state"), "new\nline", "state")
	for name, doc := range map[string][]byte{
		"metrics deleted":    deleted(t, doc, "metrics"),
		"both deleted":       deleted(t, one, "metrics"),
		"form of Orbax":      []byte(dumpsJSON(must(decodeObject("", doc)))),
		"handler misspelled": bytes.Replace(doc, []byte("item_handlers"), []byte("item_hanXlers"), 1),
		"other form":         bytes.Replace(one, []byte(", "), []byte(","), 1),
		"twice":              bytes.Replace(one, []byte("{"), []byte(`{"init_timestamp_nsecs": 5, `), 1),
		"other custom":       bytes.Replace(one, []byte("1e-07"), []byte("1e-08"), 1),
		"no object":          []byte("[]"),
		"nothing":            nil,
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := d.Rewritten(doc); !errors.Is(err, fault.ErrCorrupt) || got != nil {
				t.Errorf("got %q, %v, want %v", got, err, fault.ErrCorrupt)
			}
		})
	}
	// After it was accepted once, the next one is proven from there.
	d.ForgetPart("cfg")
	d.AddCheckpoint(one)
	check(one)
	check(deleted(t, one, "state"), "state")
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Digest files of before have no proof: the form of the document must do.
func TestRewrittenWithoutProof(t *testing.T) {
	doc, d := rewritable(t)
	d.handlers, d.canon, d.empty = nil, nil, map[string]bool{"new\nline": true}
	d, err := ParseDigests(d.Document())
	if err != nil {
		t.Fatal(err)
	}
	one := deleted(t, doc, "new\nline")
	if got, err := d.Rewritten(one); err != nil || !slices.Equal(got, []string{"new\nline"}) {
		t.Errorf("%q, %v", got, err)
	}
	for bit := range 8 * len(doc) {
		b := bytes.Clone(doc)
		b[bit/8] ^= 1 << (bit % 8)
		if _, err := d.Rewritten(b); !errors.Is(err, fault.ErrCorrupt) {
			t.Fatalf("bit %d of byte %d: %v", bit%8, bit/8, err)
		}
	}
	for _, wrong := range []string{`"state": `, `"commit_timestamp_nsecs": `, `"metrics": {}`} {
		t.Run(wrong, func(t *testing.T) {
			if _, err := d.Rewritten(bytes.Replace(one, []byte(wrong), []byte(wrong[:2]+"X"+wrong[3:]), 1)); !errors.Is(err, fault.ErrCorrupt) {
				t.Errorf("got %v, want %v", err, fault.ErrCorrupt)
			}
		})
	}
}

// What Orbax keeps in a string and Go cannot hold is never taken for a rewriting.
func TestRewrittenOfWhatGoCannotHold(t *testing.T) {
	doc := []byte(`{"item_handlers": {"a": "x", "b": "y"}, "custom_metadata": {"s": "\ud83d"}}`)
	var d Digests
	d.AddCheckpoint(doc)
	if _, err := d.Rewritten([]byte(`{"custom_metadata": {"s": "\ud83d"}, "item_handlers": {"b": "y"}}`)); !errors.Is(err, fault.ErrCorrupt) {
		t.Error(err)
	}
}
