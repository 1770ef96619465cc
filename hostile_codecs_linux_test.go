package orbax_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/go-orbax/orbax/ocdbt"
)

// codecBombs are arrays of one chunk that claims much behind each codec, and is
// garbage, or dense and true, or dense and less.
func codecBombs(t *testing.T) (stores []hostileStore) {
	const (
		zstdCodec  = `,{"name":"zstd","configuration":{"level":1,"checksum":false}}`
		gzipCodec  = `,{"name":"gzip","configuration":{"level":1}}`
		crcCodec   = `,{"name":"crc32c"}`
		bloscCodec = `,{"name":"blosc","configuration":{"cname":"lz4","clevel":1,"shuffle":"noshuffle","blocksize":0}}`
	)
	v3 := func(size int64, codecs string) string {
		return fmt.Sprintf(`{"zarr_format":3,"node_type":"array","shape":[%d],"data_type":"uint8",
			"chunk_grid":{"name":"regular","configuration":{"chunk_shape":[%d]}},
			"chunk_key_encoding":{"name":"default","configuration":{"separator":"/"}},"fill_value":0,"codecs":[%s]}`, size, size, codecs)
	}
	v2 := func(size int64, compressor string) string {
		return fmt.Sprintf(`{"zarr_format":2,"shape":[%d],"chunks":[%d],"dtype":"|u1","compressor":%s,"fill_value":0,"order":"C","filters":null}`,
			size, size, compressor)
	}
	// A quick run makes few of the stores, so each makes its large chunk itself.
	addMade := func(name, doc, file, chunk string, body func() []byte) {
		stores = append(stores, hostileStore{"codec-" + name, func(dir string) {
			chunk := filepath.Join(dir, "a", chunk)
			if err := errors.Join(os.MkdirAll(filepath.Dir(chunk), 0o777),
				os.WriteFile(filepath.Join(dir, "a", file), []byte(doc), 0o666), os.WriteFile(chunk, body(), 0o666)); err != nil {
				t.Fatal(err)
			}
		}})
	}
	add := func(name, doc, file, chunk string, body []byte) {
		addMade(name, doc, file, chunk, func() []byte { return body })
	}
	const plain = `{"name":"bytes"}`
	shard := func(size int64, inner string) string {
		return fmt.Sprintf(`{"name":"sharding_indexed","configuration":{"chunk_shape":[%d],"codecs":[{"name":"bytes"}%s],
			"index_codecs":[{"name":"bytes","configuration":{"endian":"little"}}]}}`, size, inner)
	}
	bodies := map[string]func() []byte{
		"nothing":   func() []byte { return nil },
		"garbage":   func() []byte { return bytes.Repeat([]byte("x"), 64) },
		"noise":     func() []byte { return bytes.Repeat([]byte("xyz"), 1<<19) },
		"zstd":      func() []byte { return zstdRepeats(1 << 13) },
		"zstd-lies": func() []byte { return zstdLies(1 << 30) },
		"gzip": sync.OnceValue(func() []byte {
			return deflated(64<<20, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })
		}),
		"zstd-twice": sync.OnceValue(zstdTwice),
	}
	chains := map[string]string{
		"zstd": zstdCodec, "zstd-crc": zstdCodec + crcCodec, "zstd-zstd": zstdCodec + zstdCodec,
		"zstd-zstd-zstd": zstdCodec + zstdCodec + zstdCodec, "gzip": gzipCodec, "gzip-zstd": gzipCodec + zstdCodec,
		"zstd-gzip": zstdCodec + gzipCodec, "blosc": bloscCodec, "crc": crcCodec, "raw": "",
	}
	for chain, codecs := range chains {
		for body, enc := range bodies {
			addMade(fmt.Sprint(chain, "-", body), v3(1<<30, plain+codecs), "zarr.json", "c/0", enc)
		}
		addMade(chain+"-transposed", strings.Replace(strings.Replace(v3(1<<15, `{"name":"transpose","configuration":{"order":[1,0]}},`+plain+codecs),
			"[32768]", "[32768,32768]", 2), "uint8", "uint8", 1), "zarr.json", "c/0/0", bodies["zstd"])
	}
	addMade("zstd-exabyte", v3(1<<60, plain+zstdCodec), "zarr.json", "c/0", bodies["noise"])
	addMade("two-zstd-of-64-bytes", v3(1<<36, plain+zstdCodec+zstdCodec), "zarr.json", "c/0", bodies["garbage"])
	addMade("three-zstd-of-64-bytes", v3(1<<38, plain+zstdCodec+zstdCodec+zstdCodec), "zarr.json", "c/0", bodies["garbage"])

	// Shards: of inner chunks that all are the same bytes, that lie nowhere, or that
	// are too many.
	inner := zstdRepeats(1 << 9) // 64 MiB
	same := bytes.Clone(inner)
	for range 1 << 6 {
		same = binary.LittleEndian.AppendUint64(same, 0)
		same = binary.LittleEndian.AppendUint64(same, uint64(len(inner)))
	}
	add("shard-same", v3(1<<32, shard(1<<26, zstdCodec)), "zarr.json", "c/0", same)
	add("shard-nowhere", v3(1<<32, shard(1<<26, zstdCodec)), "zarr.json", "c/0", bytes.Repeat([]byte{0x7f}, 1<<14))
	add("shard-absent", v3(1<<32, shard(1<<26, zstdCodec)), "zarr.json", "c/0", bytes.Repeat([]byte{0xff}, 1<<10))
	// Shards of chunks of one byte, all of which are there, one after the other or all at
	// one place; of as many that are raw, zeros, or fill value; and many such shards.
	for name, place := range map[string]func(i int) uint64{
		"there": func(i int) uint64 { return uint64(i) }, "same": func(int) uint64 { return 0 },
		"backwards": func(i int) uint64 { return uint64(1<<20 - 1 - i) },
	} {
		addMade("shard-of-bytes-"+name, v3(1<<20, shard(1, "")), "zarr.json", "c/0", func() []byte {
			small := make([]byte, 1<<20)
			for i := range 1 << 20 {
				small = binary.LittleEndian.AppendUint64(small, place(i))
				small = binary.LittleEndian.AppendUint64(small, 1)
			}
			return small
		})
	}
	add("shard-of-bytes-absent", v3(1<<20, shard(1, "")), "zarr.json", "c/0", bytes.Repeat([]byte{0xff}, 1<<24))
	add("shard-of-bytes-zeros", v3(1<<20, shard(1, crcCodec)), "zarr.json", "c/0", make([]byte, 1<<24))
	add("shard-of-empty-bytes", v3(1<<20, shard(1, zstdCodec)), "zarr.json", "c/0", make([]byte, 1<<24))
	addMade("shard-many", v3(1<<40, shard(1, "")), "zarr.json", "c/0", bodies["noise"])
	add("shard-in-shard", v3(1<<32, fmt.Sprintf(`{"name":"sharding_indexed","configuration":{"chunk_shape":[%d],"codecs":[%s],
		"index_codecs":[{"name":"bytes","configuration":{"endian":"little"}}]}}`, 1<<32, shard(1<<26, zstdCodec))), "zarr.json", "c/0", same)

	zlibZeros := sync.OnceValue(func() []byte {
		return deflated(64<<20, func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) })
	})
	for name, compressor := range map[string]string{
		"zlib": `{"id":"zlib","level":1}`, "gzip": `{"id":"gzip","level":1}`, "bz2": `{"id":"bz2","level":1}`,
		"zstd": `{"id":"zstd","level":1}`, "blosc": `{"id":"blosc","cname":"zstd","clevel":1,"shuffle":0}`,
	} {
		for body, enc := range map[string]func() []byte{
			"noise": bodies["noise"], "gzip": bodies["gzip"], "zstd": bodies["zstd"], "zlib": zlibZeros,
			"blosc": func() []byte { return bloscZstd(1 << 30) },
		} {
			addMade(fmt.Sprint("v2-", name, "-", body), v2(1<<30, compressor), ".zarray", "0", enc)
		}
	}

	// Grids and ranks.
	add("grid", strings.Replace(v3(1<<50, plain), `"chunk_shape":[1125899906842624]`, `"chunk_shape":[1]`, 1), "zarr.json", "c/0", []byte{0})
	add("grid-of-missing", strings.Replace(v3(1<<16, plain), `"chunk_shape":[65536]`, `"chunk_shape":[1]`, 1), "zarr.json", "c/0", []byte{0})
	add("rank", strings.ReplaceAll(v3(1, plain), "[1]", "["+strings.Repeat("1,", 1<<20)+"1]"), "zarr.json", "c/0", []byte{0})
	// A chunk that is a sparse file of its own size, or longer. One without a codec is
	// what it says.
	for name, size := range map[string]int64{"as-claimed": 1 << 40, "longer": 1 << 42} {
		for chain, codecs := range map[string]string{"crc": plain + crcCodec, "zstd": plain + zstdCodec} {
			stores = append(stores, hostileStore{fmt.Sprint("codec-sparse-", name, "-", chain), func(dir string) {
				chunk := filepath.Join(dir, "c/0")
				if err := errors.Join(os.MkdirAll(filepath.Dir(chunk), 0o777),
					os.WriteFile(filepath.Join(dir, "zarr.json"), []byte(v3(1<<40, codecs)), 0o666), os.WriteFile(chunk, nil, 0o666)); err != nil {
					t.Fatal(err)
				}
				if err := os.Truncate(chunk, size); err != nil {
					t.Log(err)
				}
			}})
		}
	}
	return stores
}

// zstdRepeats returns a frame of blocks of 128 KiB that each take four bytes.
func zstdRepeats(blocks int) []byte {
	enc := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 7 << 3}
	for i := range blocks {
		head := 128<<10<<3 | 1<<1
		if i == blocks-1 {
			head |= 1
		}
		enc = append(enc, byte(head), byte(head>>8), byte(head>>16), 0)
	}
	return enc
}

// zstdLies returns a frame of one block that says it has n bytes.
func zstdLies(n uint64) []byte {
	enc := binary.LittleEndian.AppendUint64([]byte{0x28, 0xb5, 0x2f, 0xfd, 3 << 6, 7 << 3}, n)
	return append(enc, 0x03, 0, 0x10, 0)
}

// zstdTwice returns a frame of the densest frame.
func zstdTwice() []byte {
	e, err := zstd.NewWriter(nil)
	if err != nil {
		return nil
	}
	defer e.Close()
	return e.EncodeAll(zstdRepeats(1<<13), nil)
}

func deflated(n int64, open func(io.Writer) io.WriteCloser) []byte {
	var b bytes.Buffer
	w := open(&b)
	_, _ = io.CopyN(w, nothing{}, n)
	w.Close()
	return b.Bytes()
}

type nothing struct{}

func (nothing) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// bloscZstd returns a container of n bytes in blocks that all are the same stream.
func bloscZstd(n uint32) []byte {
	const block = 32 << 20
	stream := zstdRepeats(block >> 17)
	blocks := n / block
	enc := []byte{2, 1, 4<<5 | 1<<4, 1}
	enc = binary.LittleEndian.AppendUint32(enc, n)
	enc = binary.LittleEndian.AppendUint32(enc, block)
	enc = binary.LittleEndian.AppendUint32(enc, 16+4*blocks+4+uint32(len(stream)))
	for range blocks {
		enc = binary.LittleEndian.AppendUint32(enc, 16+4*blocks)
	}
	enc = binary.LittleEndian.AppendUint32(enc, uint32(len(stream)))
	return append(enc, stream...)
}

// databaseBombs are OCDBT databases of a few kilobytes that stand for much.
func databaseBombs(t *testing.T) (stores []hostileStore) {
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	// compressed returns an object that is not compressed as one that is.
	compressed := func(object, body []byte) []byte {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest))
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		b := e.EncodeAll(body, append(bytes.Clone(object[:13]), 1))
		binary.LittleEndian.PutUint64(b[4:], uint64(len(b)+4))
		return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	}
	database := func(n int, entry func(i int) ocdbt.Entry) (manifest, nodes []byte) {
		root, err := ocdbt.WriteTree(func(yield func(ocdbt.Entry) bool) {
			for i := range n {
				if !yield(entry(i)) {
					return
				}
			}
		}, 1<<40, func(node []byte) (ocdbt.Ref, error) {
			nodes = node
			return ocdbt.Ref{File: "d/n", Length: int64(len(node))}, nil
		})
		if err != nil && nodes == nil {
			t.Fatal(err)
		}
		if err != nil { // it was refused when it had been written
			root = ocdbt.Root{Ref: ocdbt.Ref{File: "d/n", Length: int64(len(nodes))}}
		}
		nodes = compressed(nodes, nodes[14:len(nodes)-4])
		root.Ref.Length = int64(len(nodes))
		return ocdbt.Manifest(root, [16]byte{1}, time.Unix(1, 0)), nodes
	}
	add := func(name string, files func() map[string][]byte) {
		stores = append(stores, hostileStore{"database-" + name, func(dir string) {
			for file, b := range files() {
				file = filepath.Join(dir, file)
				if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o777), os.WriteFile(file, b, 0o666)); err != nil {
					t.Fatal(err)
				}
			}
		}})
	}
	zero := make([]byte, 1<<20)
	for name, c := range map[string]struct {
		n     int
		entry func(i int) ocdbt.Entry
	}{
		"keys":      {1 << 18, func(i int) ocdbt.Entry { return ocdbt.Entry{Key: strings.Repeat("k", 1250) + fmt.Sprintf("%08x", i)} }},
		"long-keys": {1 << 10, func(i int) ocdbt.Entry { return ocdbt.Entry{Key: strings.Repeat("k", 60000) + fmt.Sprintf("%08x", i)} }},
		"inline": {100, func(i int) ocdbt.Entry {
			return ocdbt.Entry{Key: fmt.Sprintf("%08x", i), Value: ocdbt.Value{Inline: zero}}
		}},
		"short-keys": {1 << 20, func(i int) ocdbt.Entry { return ocdbt.Entry{Key: fmt.Sprintf("%08x", i)} }},
		"documents": {1 << 15, func(i int) ocdbt.Entry {
			return ocdbt.Entry{Key: fmt.Sprintf("%08x/zarr.json", i), Value: ocdbt.Value{Inline: []byte(`{"x":0}`)}}
		}},
		"references": {1 << 16, func(i int) ocdbt.Entry {
			return ocdbt.Entry{Key: fmt.Sprintf("%08x/zarr.json", i), Value: ocdbt.Value{Ref: ocdbt.Ref{File: "d/n", Length: 1 << 40}}}
		}},
		"large-value": {1, func(int) ocdbt.Entry {
			return ocdbt.Entry{Key: "a/zarr.json", Value: ocdbt.Value{Ref: ocdbt.Ref{File: "d/sparse", Length: 3 << 30}}}
		}},
	} {
		if name == "keys" {
			add("of-processes", func() map[string][]byte {
				manifest, nodes := database(c.n, c.entry)
				many := map[string][]byte{}
				for i := range 100 {
					many[fmt.Sprintf("ocdbt.process_%d/manifest.ocdbt", i)] = manifest
					many[fmt.Sprintf("ocdbt.process_%d/d/n", i)] = nodes
				}
				return many
			})
		}
		add(name, func() map[string][]byte {
			manifest, nodes := database(c.n, c.entry)
			return map[string][]byte{"manifest.ocdbt": manifest, "d/n": nodes}
		})
	}
	manifest, nodes := database(1, func(int) ocdbt.Entry { return ocdbt.Entry{Key: "a"} })
	bomb := func(name, file string, object []byte, body func() []byte) {
		add(name, func() map[string][]byte {
			files := map[string][]byte{"manifest.ocdbt": manifest, "d/n": nodes}
			files[file] = compressed(object, body())
			return files
		})
	}
	bomb("manifest-zeros", "manifest.ocdbt", manifest, func() []byte { return make([]byte, 200<<20) })
	bomb("manifest-ones", "manifest.ocdbt", manifest, func() []byte { return bytes.Repeat([]byte{1}, 60<<20) })
	bomb("node-zeros", "d/n", nodes, func() []byte { return make([]byte, 250<<20) })
	return stores
}
