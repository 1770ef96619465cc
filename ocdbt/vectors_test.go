package ocdbt

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
	"time"
)

// Bytes that TensorStore accepts, field by field.
const (
	vectorManifest = `0cdb3a2a 4a00000000000000 00 00
		000102030405060708090a0b0c0d0e0f
		00 8008 80c2d72f 04 00
		01 06 00 642f64617461
		01 01 00
		00 c0ef24 39
		02 39 c0cf24
		cd2908985bb1ea18
		00
		f020fe4e`
	vectorLeaf = `0cdb20de 3900000000000000 00 00
		00
		01 06 00 642f64617461
		02
		02
		05 09
		772f632f30 7a6172722e6a736f6e
		c0cf24 02
		01 00
		00
		8020
		7b7d
		c69951d4`
	// The interior node lacks its checksum.
	vectorInterior = `0cdb20de 3500000000000000 00 00
		01
		01 03 00 642f78
		02
		07
		08 01
		07 08
		6c617965722e3030 35
		00 00 00 40 40 50 05 06 40 50 00 e807`
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestManifestVector(t *testing.T) {
	want := unhex(t, vectorManifest)
	cfg, v, err := decodeManifest(want)
	if err != nil {
		t.Fatal(err)
	}
	wantConfig := config{
		UUID:                 [16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
		MaxInlineValueBytes:  1024,
		MaxDecodedNodeBytes:  100_000_000,
		VersionTreeArityLog2: 4,
	}
	wantVersion := Version{
		Generation: 1,
		CommitTime: time.Unix(0, 0x18eab15b980829cd).UTC(),
		Root: Root{
			Ref:   Ref{File: "d/data", Offset: 604096, Length: 57},
			Stats: Stats{Keys: 2, TreeBytes: 57, ValueBytes: 600000},
		},
	}
	if cfg != wantConfig {
		t.Errorf("config %+v\nwant %+v", cfg, wantConfig)
	}
	if v != wantVersion {
		t.Errorf("version %+v\nwant %+v", v, wantVersion)
	}
	if got := encodeManifest(wantConfig, wantVersion); !bytes.Equal(got, want) {
		t.Errorf("encoded %x\nwant %x", got, want)
	}

	// The same with the configuration of Orbax: zstd, level 0.
	got := Manifest(wantVersion.Root, wantConfig.UUID, wantVersion.CommitTime)
	at := len(unhex(t, vectorManifest[:strings.Index(vectorManifest, "04 00")])) + 1
	if !bytes.Equal(got[14:at], want[14:at]) || !bytes.Equal(got[at:at+5], []byte{1, 0, 0, 0, 0}) || !bytes.Equal(got[at+5:len(got)-4], want[at+1:len(want)-4]) {
		t.Errorf("Manifest returned %x", got)
	}
}

func TestLeafVector(t *testing.T) {
	entries := []Entry{
		{Key: "w/c/0", Value: Value{Ref: Ref{File: "d/data", Offset: 4096, Length: 600000}}},
		{Key: "w/zarr.json", Value: Value{Inline: []byte("{}")}},
	}
	want := unhex(t, vectorLeaf)
	got := encodeNode([]item{{key: entries[0].Key, value: entries[0].Value}, {key: entries[1].Key, value: entries[1].Value}}, 0, 0)
	if !bytes.Equal(got, want) {
		t.Errorf("encoded %x\nwant %x", got, want)
	}
	db := memSource{"d/data": append(make([]byte, 604096), want...), ManifestName: unhex(t, vectorManifest)}
	sameEntries(t, collect(t, open(t, db), ""), entries)
}

func TestInteriorVector(t *testing.T) {
	items := []item{
		{
			key: "layer.00", common: 7, value: Value{Ref: Ref{File: "d/x", Offset: 0, Length: 64}},
			stats: Stats{Keys: 5, TreeBytes: 64, ValueBytes: 0},
		},
		{
			key: "layer.05", common: 8, value: Value{Ref: Ref{File: "d/x", Offset: 64, Length: 80}},
			stats: Stats{Keys: 6, TreeBytes: 80, ValueBytes: 1000},
		},
	}
	want := unhex(t, vectorInterior)
	got := encodeNode(items, 1, 0)
	if !bytes.Equal(got[:len(got)-4], want) {
		t.Errorf("encoded %x\nwant %x", got[:len(got)-4], want)
	}
	n, err := decodeNode(want[envelopeHeader:], "")
	if err != nil {
		t.Fatal(err)
	}
	if n.height != 1 || n.keys[1] != (nodeKey{7, 1, 8}) || n.ref(1) != items[1].value.Ref {
		t.Errorf("decoded %+v", n)
	}
}
