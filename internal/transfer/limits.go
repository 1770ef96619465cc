package transfer

import (
	"fmt"
	"path"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/memory"
)

// documentLimit bounds a document, which is read into memory as a whole.
type documentLimit struct {
	most int64 // bytes; more is damage, such as a file system leaves that has lost its place
	// parsed is about how many bytes of memory a byte of the document can become. What
	// the process cannot have is refused before the document is read.
	parsed int64
}

var (
	// ofOne describes one array. Values of any in memory take 70 bytes for the three of
	// "[],", as slices grow, and twice as much until garbage is collected.
	ofOne = documentLimit{64 << 20, 48}
	// ofTree has an entry for each leaf: 400 bytes for each of 2,500,000.
	ofTree = documentLimit{1 << 30, 16}
	// ofChunks has one for each chunk too, of a few bytes.
	ofChunks = documentLimit{1 << 30, 24}
	// userJSON has what a program likes to say.
	userJSON = documentLimit{1 << 30, 48}
	// userFile is any file of a program's own, which nobody parses.
	userFile = documentLimit{4 << 30, 1}
)

// limitOf returns the limit of the document of a name.
func limitOf(name string) documentLimit {
	dir, base := path.Split(name)
	switch base {
	case "zarr.json", ".zarray", ".zgroup", ".zattrs", "orbax.checkpoint", "commit_success.txt", "_CHECKPOINT_DELETION":
		return ofOne
	case "_METADATA", "_sharding", "_strings.json", "digests.sha256", "go-orbax.chunks", "manifest.ocdbt":
		return ofTree
	case "_CHECKPOINT_METADATA", "_ROOT_METADATA", "metrics", "metadata", "data.json":
		return userJSON
	}
	switch {
	case strings.HasSuffix(dir, "array_metadatas/"), strings.HasPrefix(base, "manifest."), strings.HasPrefix(base, "digests."):
		return ofTree
	case base == "go-orbax.places", strings.HasPrefix(base, "go-orbax.places."):
		return ofChunks
	}
	return userFile
}

// ReserveDocument returns memory for n bytes of the named document, and for what is made
// of them. More bytes than such a document may have are an error that matches
// fault.ErrCorrupt, and more than the process can hold one that matches
// fault.ErrNoMemory. The caller releases the memory when the document is parsed.
func ReserveDocument(name string, n int64) (memory.Reservation, error) {
	limit := limitOf(name)
	if n > limit.most {
		return memory.Reservation{}, fmt.Errorf("%w: %d bytes of %s, more than the %d that such a document may have", fault.ErrCorrupt, n, name, limit.most)
	}
	r, err := memory.ReserveFor(n, limit.parsed)
	if err != nil {
		return r, fmt.Errorf("%s of %d bytes: %w", name, n, err)
	}
	return r, nil
}
