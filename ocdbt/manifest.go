package ocdbt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/lfs"
)

// ManifestName is the name of the manifest in the root of a database. A database exists
// once this file exists.
const ManifestName = "manifest.ocdbt"

// numberedPrefix begins the names of numbered manifests. 16 hexadecimal digits of a
// generation number follow.
const numberedPrefix = "manifest."

// config is the configuration of a database in its manifest. It controls how TensorStore
// would add to the database, and has no influence on reading.
type config struct {
	UUID                 [16]byte
	Numbered             bool   // the versions are in separate manifests, one for each commit
	MaxInlineValueBytes  uint32 // longer values are stored out of line
	MaxDecodedNodeBytes  uint32 // larger nodes are split
	VersionTreeArityLog2 uint8  // 1 to 16
	Zstd                 bool   // nodes are compressed, at ZstdLevel
	ZstdLevel            int32
}

// Version is one state of a database.
type Version struct {
	Generation uint64    // 1 and up
	CommitTime time.Time // to the nanosecond
	Root       Root
}

// Root is the root of a tree. The zero Root is the root of an empty database.
type Root struct {
	Ref    Ref   // the encoded root node
	Height uint8 // 0 if the root is a leaf
	Stats  Stats

	base string // as in dataFile
}

// Empty reports whether there is no tree.
func (r Root) Empty() bool { return r.Ref.File == "" }

// Stats holds totals over a tree that its writer has recorded. Readers do not check them.
type Stats struct {
	Keys       uint64
	TreeBytes  uint64 // of encoded nodes
	ValueBytes uint64 // of values out of line
}

// readManifest returns the configuration and the newest version of the database.
func readManifest(ctx context.Context, src Source) (config, Version, error) {
	cfg, version, err := readManifestFile(ctx, src, ManifestName)
	if err != nil || !cfg.Numbered {
		return cfg, version, err
	}
	names, err := src.List(ctx, numberedPrefix)
	if err != nil {
		return cfg, version, fmt.Errorf("listing numbered manifests: %w", err)
	}
	newest := ""
	for _, name := range names {
		digits, ok := strings.CutPrefix(name, numberedPrefix)
		if _, err := strconv.ParseUint(digits, 16, 64); ok && len(digits) == 16 && err == nil {
			newest = max(newest, name)
		}
	}
	if newest == "" {
		return cfg, version, fmt.Errorf("%w: %s calls for numbered manifests, there are none", fault.ErrCorrupt, ManifestName)
	}
	own, version, err := readManifestFile(ctx, src, newest)
	switch {
	case err != nil:
	case own.Numbered:
		err = fmt.Errorf("%s: %w", newest, corruptf("holds no versions"))
	case own.UUID != cfg.UUID:
		err = fmt.Errorf("%s: %w", newest, corruptf("belongs to database %x, not %x", own.UUID, cfg.UUID))
	}
	return cfg, version, err
}

func readManifestFile(ctx context.Context, src Source, name string) (config, Version, error) {
	b, err := src.Read(ctx, name, 0, -1)
	switch {
	case errors.Is(err, fs.ErrNotExist) && name != ManifestName:
		return config{}, Version{}, missingError(name)
	case errors.Is(err, fs.ErrNotExist):
		return config{}, Version{}, fmt.Errorf("%s %w: %w", name, fault.ErrNotExist, err)
	case err != nil:
		return config{}, Version{}, fmt.Errorf("%s: %w", name, err)
	case lfs.IsPointer(b):
		return config{}, Version{}, lfs.Error(name)
	}
	cfg, version, err := decodeManifest(b)
	if err != nil {
		err = fmt.Errorf("%s at offset 0 (%d bytes): %w", name, len(b), err)
	}
	return cfg, version, err
}

// decodeManifest decodes a manifest file. The version is zero if the manifest
// only points to numbered ones.
func decodeManifest(b []byte) (cfg config, newest Version, err error) {
	body, err := openEnvelope(b, manifestMagic)
	if err != nil {
		return cfg, newest, err
	}
	c := &cursor{b: body}
	cfg = readConfig(c)
	if !cfg.Numbered {
		files := readTable(c, "")
		newest = readVersions(c, files, cfg.VersionTreeArityLog2)
		checkVersionNodes(c, files, cfg.VersionTreeArityLog2)
	}
	if err := c.end(); err != nil {
		return config{}, Version{}, corruptf("%w", err)
	}
	return cfg, newest, nil
}

func readConfig(c *cursor) (cfg config) {
	copy(cfg.UUID[:], c.bytes("uuid", len(cfg.UUID)))
	kind := c.uint8("manifest kind")
	if kind > 1 {
		c.fail("manifest kind %d, only 0 (single) and 1 (numbered) are known", kind)
	}
	cfg.Numbered = kind == 1
	cfg.MaxInlineValueBytes = uint32(c.uvarint("max_inline_value_bytes", math.MaxUint32))
	cfg.MaxDecodedNodeBytes = uint32(c.uvarint("max_decoded_node_bytes", math.MaxUint32))
	cfg.VersionTreeArityLog2 = c.uint8("version_tree_arity_log2")
	if a := cfg.VersionTreeArityLog2; c.err == nil && (a < 1 || a > 16) {
		c.fail("version_tree_arity_log2 %d is outside 1 to 16", a)
	}
	cfg.Zstd = c.uvarint("compression method", 1) == 1
	if cfg.Zstd {
		cfg.ZstdLevel = int32(c.uint32("zstd level"))
	}
	return cfg
}

// readVersions takes the latest versions, which are in the manifest itself, and returns
// the last of them.
func readVersions(c *cursor, files []dataFile, arity uint8) (last Version) {
	const size = 1 + 1 + 3 + 3 + 8 // generation, height, reference, statistics, time
	n := c.count("number of versions", 1<<arity, size)
	if c.err == nil && n == 0 {
		c.fail("no versions")
	}
	var first uint64
	for i := range n {
		g := c.uvarint("generation number", math.MaxUint64)
		if c.err == nil && g <= last.Generation {
			c.fail("generation number %d follows %d", g, last.Generation)
		}
		if i == 0 {
			first = g
		}
		last.Generation = g
	}
	if c.err == nil && (first-1)>>arity != (last.Generation-1)>>arity {
		c.fail("generations %d and %d do not belong in the same node", first, last.Generation)
	}
	for range n {
		last.Root.Height = c.uint8("root height")
	}
	last.Root.Ref, last.Root.base = readRootRefs(c, files, n)
	last.Root.Stats = readStats(c, n)
	for range n {
		last.CommitTime = time.Unix(0, int64(c.uint64("commit time"))).UTC()
	}
	if last.Root.Empty() && (last.Root.Height != 0 || last.Root.Stats != Stats{}) {
		c.fail("the root is missing, but has height %d and statistics %+v", last.Root.Height, last.Root.Stats)
	}
	return last
}

// readRootRefs takes n references to root nodes, any of which may be missing. It returns
// the last reference and its base path.
func readRootRefs(c *cursor, files []dataFile, n int) (Ref, string) {
	if c.err != nil {
		return Ref{}, ""
	}
	type ref struct{ file, offset, length uint64 }
	refs := make([]ref, n)
	for i := range refs {
		refs[i].file = c.uvarint("data file index", math.MaxUint64)
	}
	for i := range refs {
		refs[i].offset = c.uvarint("offset", math.MaxUint64)
	}
	for i := range refs {
		refs[i].length = c.uvarint("length", math.MaxUint64)
	}
	var last Ref
	var base string
	for _, r := range refs {
		if r.file >= uint64(len(files)) {
			c.fail("data file index %d is outside the table of %d files", r.file, len(files))
			return Ref{}, ""
		}
		last, base = Ref{}, ""
		if r.offset == math.MaxUint64 && r.length == math.MaxUint64 {
			continue
		}
		f := files[r.file]
		switch {
		case f.path == "":
			c.fail("data file %d has an empty path", r.file)
		case r.offset > math.MaxInt64 || r.length > math.MaxInt64-r.offset:
			c.fail("root node at offset %d of length %d ends beyond 2^63-1", r.offset, r.length)
		}
		last, base = Ref{File: f.path, Offset: int64(r.offset), Length: int64(r.length)}, f.base
	}
	return last, base
}

// checkVersionNodes takes the references to the nodes that hold older versions. It does
// not follow them.
func checkVersionNodes(c *cursor, files []dataFile, arity uint8) {
	if c.err != nil {
		return
	}
	maxHeight := 63/uint64(arity) - 1
	const size = 1 + 3 + 1 + 8 + 1 // generation, reference, number of generations, time, height
	n := c.count("number of version nodes", maxHeight, size)
	var prev uint64
	for range n {
		g := c.uvarint("generation number", math.MaxUint64)
		if c.err == nil && g <= prev {
			c.fail("generation number %d of a version node follows %d", g, prev)
		}
		prev = g
	}
	readRefs(c, files, n)
	for range n {
		c.uvarint("number of generations", math.MaxUint64)
	}
	for range n {
		c.uint64("commit time")
	}
	below := uint8(min(maxHeight+1, math.MaxUint8))
	for range n {
		h := c.uint8("version node height")
		if c.err == nil && (h == 0 || h >= below) {
			c.fail("version node height %d is outside 1 to %d", h, below-1)
		}
		below = h
	}
}

// Manifest returns the bytes of the manifest of a database with one version. The version
// has generation 1, the given commit time, and the root that [WriteTree] returned. The
// configuration is the one that Orbax gives its databases. The uuid identifies the
// database and should be random.
func Manifest(root Root, uuid [16]byte, commit time.Time) []byte {
	cfg := config{
		UUID:                 uuid,
		MaxInlineValueBytes:  1024,
		MaxDecodedNodeBytes:  100_000_000,
		VersionTreeArityLog2: 4,
		Zstd:                 true,
	}
	return encodeManifest(cfg, Version{Generation: 1, CommitTime: commit, Root: root})
}

func encodeManifest(cfg config, v Version) []byte {
	b := beginEnvelope(manifestMagic, 128)
	b = append(b, cfg.UUID[:]...)
	b = append(b, 0) // one file
	b = binary.AppendUvarint(b, uint64(cfg.MaxInlineValueBytes))
	b = binary.AppendUvarint(b, uint64(cfg.MaxDecodedNodeBytes))
	b = append(b, cfg.VersionTreeArityLog2)
	if cfg.Zstd {
		b = append(b, 1)
		b = binary.LittleEndian.AppendUint32(b, uint32(cfg.ZstdLevel))
	} else {
		b = append(b, 0)
	}
	b = appendTable(b, []string{v.Root.Ref.File})

	offset, length := uint64(v.Root.Ref.Offset), uint64(v.Root.Ref.Length)
	if v.Root.Empty() {
		offset, length = math.MaxUint64, math.MaxUint64
	}
	b = append(b, 1) // one version
	b = binary.AppendUvarint(b, v.Generation)
	b = append(b, v.Root.Height)
	b = append(b, 0) // first file
	for _, u := range []uint64{offset, length, v.Root.Stats.Keys, v.Root.Stats.TreeBytes, v.Root.Stats.ValueBytes} {
		b = binary.AppendUvarint(b, u)
	}
	nanos := max(0, v.CommitTime.UnixNano())
	b = binary.LittleEndian.AppendUint64(b, uint64(nanos))
	b = append(b, 0) // no version nodes
	return endEnvelope(b)
}
