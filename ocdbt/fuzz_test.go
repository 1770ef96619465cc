package ocdbt

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
)

// seedBodies adds the bodies of all golden manifests and nodes that begin
// a file and carry the magic number.
func seedBodies(f *testing.F, magic uint32, add func(body []byte)) {
	err := filepath.WalkDir(filepath.Join("testdata", "golden"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if body, err := openEnvelope(b, magic); err == nil {
			add(body)
		}
		return nil
	})
	if err != nil {
		f.Fatal(err)
	}
}

// FuzzManifest decodes arbitrary bodies. What decodes is encoded and decoded
// to the same again.
func FuzzManifest(f *testing.F) {
	seedBodies(f, manifestMagic, func(body []byte) { f.Add(body) })
	f.Fuzz(func(t *testing.T, body []byte) {
		cfg, v, err := decodeManifest(endEnvelope(append(beginEnvelope(manifestMagic, len(body)), body...)))
		if err != nil {
			if !errors.Is(err, fault.ErrCorrupt) {
				t.Fatalf("error of no known class: %v", err)
			}
			return
		}
		if cfg.Numbered || v.CommitTime.Before(time.Unix(0, 0)) {
			return
		}
		cfg2, v2, err := decodeManifest(encodeManifest(cfg, v))
		v.Root.base = ""
		if err != nil || cfg2 != cfg || v2 != v {
			t.Fatalf("%+v %+v\nbecomes %+v %+v, %v", cfg, v, cfg2, v2, err)
		}
	})
}

// FuzzNode decodes arbitrary bodies. The entries of a node that decodes make
// a tree of the same entries.
func FuzzNode(f *testing.F) {
	for _, s := range []string{vectorLeaf, vectorInterior + "00000000"} {
		b := unhex(f, s)
		f.Add(b[envelopeHeader:len(b)-4], "")
	}
	seedBodies(f, nodeMagic, func(body []byte) { f.Add(body, "sub/") })
	f.Fuzz(func(t *testing.T, body []byte, base string) {
		if len(base) > maxPathLength {
			return
		}
		n, err := decodeNode(body, base)
		if err != nil {
			if !errors.Is(err, fault.ErrCorrupt) {
				t.Fatalf("error of no known class: %v", err)
			}
			return
		}
		var entries []Entry
		for k := newKeys("", n); k.next(); {
			e := Entry{Key: string(k.key)}
			if n.height == 0 {
				e.Value = n.value(k.i)
			} else {
				e.Value.Ref = n.child(subtree{height: n.height}, k.i, e.Key, "").ref
			}
			entries = append(entries, e)
		}
		sameEntries(t, collect(t, open(t, build(t, entries, 100)), ""), entries)
	})
}

// FuzzEnvelope opens arbitrary bytes behind a sound header and checksum.
func FuzzEnvelope(f *testing.F) {
	body := unhex(f, vectorManifest)[envelopeHeader:]
	f.Add(append([]byte{0, 0}, body...))
	for _, name := range []string{"single_zstd", "orbax"} {
		b, err := os.ReadFile(filepath.Join("testdata", "golden", name, ManifestName))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[12 : len(b)-4])
	}
	f.Fuzz(func(t *testing.T, rest []byte) {
		b := append(beginEnvelope(manifestMagic, len(rest))[:12], rest...)
		body, err := openEnvelope(endEnvelope(b), manifestMagic)
		switch {
		case err == nil && bytes.HasPrefix(rest, []byte{0, 0}) && !bytes.Equal(body, rest[2:]):
			t.Fatalf("raw body is %x, want %x", body, rest[2:])
		case err != nil && !errors.Is(err, fault.ErrCorrupt) && !errors.Is(err, fault.ErrUnsupported):
			t.Fatalf("error of no known class: %v", err)
		}
	})
}
