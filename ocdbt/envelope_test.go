package ocdbt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/go-orbax/orbax/internal/fault"
)

func TestLaterFormats(t *testing.T) {
	for at, says := range map[int]string{12: "format version 2", 13: "compression method 2"} {
		b := unhex(t, vectorManifest)
		b[at] = 2
		_, _, err := decodeManifest(endEnvelope(b[:len(b)-4]))
		if !errors.Is(err, fault.ErrUnsupported) || !strings.Contains(err.Error(), says) {
			t.Errorf("error %v, want unsupported %s", err, says)
		}
	}
}

// zstdEnvelope wraps a zstd frame, which need not be sound.
func zstdEnvelope(magic uint32, frame []byte) []byte {
	b := beginEnvelope(magic, len(frame))
	b[13] = 1
	return endEnvelope(append(b, frame...))
}

func TestZstd(t *testing.T) {
	body := unhex(t, vectorManifest)
	body = body[envelopeHeader : len(body)-4]
	for _, level := range []zstd.EncoderLevel{zstd.SpeedFastest, zstd.SpeedBestCompression} {
		for _, single := range []bool{false, true} {
			enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithSingleSegment(single), zstd.WithEncoderCRC(single))
			if err != nil {
				t.Fatal(err)
			}
			frame := enc.EncodeAll(body, nil)
			if _, v, err := decodeManifest(zstdEnvelope(manifestMagic, frame)); err != nil || v.Root.Ref.Offset != 604096 {
				t.Errorf("version %+v, error %v", v, err)
			}
			for name, bad := range map[string][]byte{
				"cut":       frame[:len(frame)-1],
				"two":       append(bytes.Clone(frame), frame...),
				"junk":      append(bytes.Clone(frame), 0),
				"skippable": append(unhex(t, "502a4d18 01000000 00"), frame...),
				"empty":     nil,
			} {
				if _, _, err := decodeManifest(zstdEnvelope(manifestMagic, bad)); !errors.Is(err, fault.ErrCorrupt) {
					t.Errorf("%s: error %v, want corrupt", name, err)
				}
			}
		}
	}
}

// A frame must not make the decoder allocate what its blocks cannot fill, or
// more than the limit.
func TestZstdBombs(t *testing.T) {
	// Single segment with a content size of 8 bytes, then one block of one byte.
	declared := binary.LittleEndian.AppendUint64(unhex(t, "28b52ffd e0"), 200<<20)
	declared = append(declared, unhex(t, "090000 00")...)
	// Window of 128 KiB, then blocks that repeat a byte 128 Ki times.
	repeated := unhex(t, "28b52ffd 00 38")
	for range maxUnzipped/maxBlock + 1 {
		repeated = append(repeated, unhex(t, "020010 00")...)
	}
	repeated[len(repeated)-4] |= 1
	for _, frame := range [][]byte{declared, repeated} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := unzstd(frame); !errors.Is(err, fault.ErrCorrupt) {
			t.Errorf("error %v, want corrupt", err)
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("frame of %d bytes: %d bytes allocated", len(frame), n)
		}
	}
}
