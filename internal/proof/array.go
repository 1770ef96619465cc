package proof

import (
	"path"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/storage"
)

// zarrDocs are the documents of an array in its own files, and other documents that zarr
// may put next to them.
var zarrDocs = map[string]func([]byte) verdict{
	".zarray": zarrDoc, "zarr.json": zarrDoc, ".zattrs": objectDoc, ".zgroup": zarrDoc, ".zmetadata": objectDoc,
}

func zarrDoc(doc []byte) verdict {
	switch members(doc)["zarr_format"] {
	case 2, 3:
		return known
	}
	return doubt
}

// arrays takes the entries of a tree's directory that are arrays in their own files, and
// returns the others.
func (w *walk) arrays(dir string, leaves leafNames, entries []storage.Entry) (rest []storage.Entry, err error) {
	if leaves.names[""] || !leaves.known && hasArray(entries) { // the whole tree is one array
		return w.array(dir, leaves, "", entries)
	}
	for _, e := range entries {
		taken := false
		if isDir(e) {
			if taken, err = w.arrayDir(dir, leaves, e.Name, e); err != nil {
				return nil, err
			}
		}
		if !taken {
			rest = append(rest, e)
		}
	}
	return rest, nil
}

func hasArray(entries []storage.Entry) bool {
	return slices.ContainsFunc(entries, func(e storage.Entry) bool {
		name := strings.TrimSuffix(e.Name, lockSuffix)
		return isFile(e) && (name == ".zarray" || name == "zarr.json")
	})
}

// arrayDir takes the directory of an array, or a directory that contains arrays: a leaf's
// name may have slashes.
func (w *walk) arrayDir(dir string, leaves leafNames, leaf string, e storage.Entry) (bool, error) {
	is, above := leaves.names[leaf]
	if leaves.known && !above {
		if !w.merging {
			return false, nil
		}
		leaves = leafNames{}
	}
	name := path.Join(dir, leaf)
	if isLink(e) {
		if is {
			w.take(name, e)
		}
		return is, nil
	}
	entries, err := w.entries(name)
	if err != nil {
		return false, err
	}
	if !leaves.known {
		is = hasArray(entries) || w.partial && len(entries) > 0 && !slices.ContainsFunc(entries, func(e storage.Entry) bool { return !isChunkName(strings.TrimSuffix(e.Name, lockSuffix)) })
	}
	if !is && !leaves.known && len(entries) == 0 && !w.partial {
		return false, nil
	}
	items, strange := len(w.items), len(w.strange)
	w.take(name, e)
	rest := entries
	if is {
		if rest, err = w.array(dir, leaves, leaf, entries); err != nil {
			return false, err
		}
	}
	for _, e := range rest {
		taken := false
		if isDir(e) {
			if taken, err = w.arrayDir(dir, leaves, path.Join(leaf, e.Name), e); err != nil {
				return false, err
			}
		}
		if taken {
			continue
		}
		if !is && !leaves.known { // a directory of another kind
			w.items, w.strange = w.items[:items], w.strange[:strange]
			return false, nil
		}
		w.refuse(path.Join(name, e.Name), e)
	}
	return true, nil
}

// array takes the documents and the chunks of an array, and returns the other entries of
// its directory.
func (w *walk) array(dir string, leaves leafNames, leaf string, entries []storage.Entry) (rest []storage.Entry, err error) {
	rank := -1
	var chunks []storage.Entry
	for _, e := range entries {
		base := strings.TrimSuffix(e.Name, lockSuffix)
		check := zarrDocs[base]
		if check == nil || !isFile(e) {
			chunks = append(chunks, e)
			continue
		}
		doc, err := w.document(path.Join(dir, leaf, e.Name), e, check)
		if err != nil {
			return nil, err
		}
		if shape, ok := members(doc)["shape"].([]any); ok {
			rank = len(shape)
		}
	}
	for _, e := range chunks {
		if _, other := leaves.names[path.Join(leaf, e.Name)]; other {
			rest = append(rest, e)
			continue
		}
		taken, err := w.chunk(path.Join(dir, leaf), nil, rank, e)
		if err != nil {
			return nil, err
		}
		if !taken {
			rest = append(rest, e)
		}
	}
	return rest, nil
}

// chunk takes a chunk, or a directory of chunks. above are the parts of its key so far.
func (w *walk) chunk(dir string, above []string, rank int, e storage.Entry) (bool, error) {
	base := strings.TrimSuffix(e.Name, lockSuffix)
	if !isChunkName(base) || len(above) > 0 && strings.HasPrefix(base, "c") {
		return false, nil
	}
	name, key := path.Join(dir, e.Name), append(above[:len(above):len(above)], strings.Split(base, ".")...)
	if e.Type.IsDir() {
		w.take(name, e)
		return true, w.each(name, func(_ string, e storage.Entry) (bool, error) { return w.chunk(name, key, rank, e) })
	}
	if !isFile(e) || rank >= 0 && !isKey(key, rank) {
		return false, nil
	}
	w.take(name, e)
	return true, nil
}

// isChunkName reports whether name can be the name of a chunk or a part of one: c, and
// numbers separated by dots.
func isChunkName(name string) bool {
	if name == "c" {
		return true
	}
	name = strings.TrimPrefix(name, "c.")
	for part := range strings.SplitSeq(name, ".") {
		if !isNumber(part) {
			return false
		}
	}
	return true
}

// isKey reports whether the parts of a key are those of an array with the given rank.
func isKey(key []string, rank int) bool {
	if key[0] == "c" {
		return len(key)-1 == rank
	}
	return len(key) == max(rank, 1)
}
