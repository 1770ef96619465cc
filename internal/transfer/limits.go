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
	most int64 // in bytes; more is damage, for example by a file system that has lost its place
	// parsed is about how many bytes of memory a byte of the document can become. If the
	// process cannot have that memory, the document is refused before it is read.
	parsed int64
}

var (
	// ofOne is for a document that describes one array. Values of type any take 70 bytes
	// in memory for the three of "[],", as slices grow, and twice as much until garbage
	// is collected.
	ofOne = documentLimit{64 << 20, 48}
	// ofTree is for a document with an entry for each leaf: 400 bytes for each of
	// 2,500,000.
	ofTree = documentLimit{1 << 30, 16}
	// ofChunks is for a document that also has an entry of a few bytes for each chunk.
	ofChunks = documentLimit{1 << 30, 24}
	// userJSON is for JSON with the content of a program's choice.
	userJSON = documentLimit{1 << 30, 48}
	// userFile is for any file of a program, which is never parsed.
	userFile = documentLimit{4 << 30, 1}
)

// limitOf returns the limit of the document with the given name.
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

func tooLarge(name string, n int64, limit documentLimit) error {
	return fmt.Errorf("%w: %d bytes of %s, more than the %d that such a document may have", fault.ErrCorrupt, n, name, limit.most)
}

// ReserveDocument reserves memory for n bytes of the named document, and for everything
// that is parsed from them. If n is more than such a document may have, the error matches
// [fault.ErrCorrupt]; if it is more than the process can hold, [fault.ErrNoMemory]. The
// caller releases the memory when the document has been parsed.
func ReserveDocument(name string, n int64) (memory.Reservation, error) {
	limit := limitOf(name)
	if n > limit.most {
		return memory.Reservation{}, tooLarge(name, n, limit)
	}
	r, err := memory.ReserveFor(n, limit.parsed)
	if err != nil {
		return r, fmt.Errorf("%s of %d bytes: %w", name, n, err)
	}
	return r, nil
}
