package proof

import (
	"path"
	"strings"

	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/storage"
)

// leafNames holds the names of a tree's arrays. If each array has its own files, these
// are the names of their directories.
type leafNames struct {
	known bool            // false: the tree's document is missing or damaged
	names map[string]bool // true for arrays, false for directories above them
}

func namesOf(doc []byte) leafNames {
	m, err := layout.ParseTree(doc)
	if doc == nil || err != nil {
		return leafNames{}
	}
	l := leafNames{known: true, names: map[string]bool{}}
	if m.OCDBT != nil && *m.OCDBT {
		return l // its arrays are in a database
	}
	for _, leaf := range m.Leaves {
		if leaf.Empty || leaf.ValueType == layout.String {
			continue
		}
		name := leaf.Path.String()
		l.names[name] = true
		for up := path.Dir(name); up != "." && up != "/"; up = path.Dir(up) {
			if _, has := l.names[up]; has {
				break
			}
			l.names[up] = false
		}
	}
	return l
}

// tree takes the entries of the directory dir that belong to a pytree, if there is one,
// and returns the others.
func (w *walk) tree(r *rootDocs, dir string, entries []storage.Entry) (rest []storage.Entry, isTree bool, err error) {
	var leaves leafNames
	var dirs []storage.Entry
	for _, e := range w.takeLocks(dir, entries) {
		name := path.Join(dir, e.Name)
		switch {
		case isFile(e) && isTreeFile(e.Name):
			isTree = true
			check := checks[e.Name]
			switch {
			case layout.IsPlaces(e.Name):
				check = placesDoc
			case layout.IsProcessRecord(e.Name):
				check = processDoc
			case check == nil:
				check = manifestDoc
			}
			doc, err := w.document(name, e, check)
			if err != nil {
				return nil, false, err
			}
			if e.Name == layout.TreeFile {
				leaves = namesOf(doc)
			}
		case isFile(e) && e.Name == layout.AggregateFile:
			is, err := w.isMsgpack(name)
			if err != nil {
				return nil, false, err
			}
			if !is {
				rest = append(rest, e)
				continue
			}
			w.take(name, e)
			w.proven++
			isTree, w.orbax = true, true
		case isDir(e):
			dirs = append(dirs, e)
		default:
			rest = append(rest, e)
		}
	}
	for _, e := range dirs {
		name, taken := path.Join(dir, e.Name), true
		switch {
		case e.Name == layout.DataDir:
			err = w.inside(name, e, func() error { return w.dataFiles(name) })
		case strings.HasPrefix(e.Name, layout.ProcessPrefix):
			err = w.inside(name, e, func() error { return w.database(name) })
		case e.Name == path.Dir(layout.ArrayFile):
			err = w.inside(name, e, func() error { return w.arrayMetadatas(name) })
		default:
			taken = false
		}
		if err != nil {
			return nil, false, err
		}
		if isTree = isTree || taken; !taken {
			rest = append(rest, e)
		}
	}
	if isTree {
		rest, err = w.arrays(dir, leaves, rest)
	}
	return rest, isTree, err
}

// isTreeFile reports whether name is the name of a document that only a tree has.
func isTreeFile(name string) bool { return layout.IsTreeFile(name) || isManifest(name) }

// isManifest reports whether name is the name of a manifest, or of one that TensorStore
// has not given its final name.
func isManifest(name string) bool { return layout.IsManifest(strings.TrimSuffix(name, lockSuffix)) }

// dataFiles examines a directory of data files.
func (w *walk) dataFiles(dir string) error {
	return w.each(dir, func(name string, e storage.Entry) (bool, error) {
		id := strings.TrimSuffix(e.Name, lockSuffix)
		if !isFile(e) || len(id) != 32 || !isHex(id) {
			return false, nil
		}
		w.take(name, e)
		return true, nil
	})
}

// database examines the directory of the database of one process.
func (w *walk) database(dir string) error {
	return w.each(dir, func(name string, e storage.Entry) (bool, error) {
		switch {
		case isDir(e) && e.Name == layout.DataDir:
			return true, w.inside(name, e, func() error { return w.dataFiles(name) })
		case isFile(e) && e.Name == layout.ChunksFile:
			_, err := w.document(name, e, checks[layout.ChunksFile])
			return true, err
		case isFile(e) && isManifest(e.Name):
			doc, err := w.document(name, e, manifestDoc)
			w.orbax = w.orbax || doc != nil
			return true, err
		}
		return false, nil
	})
}

func (w *walk) arrayMetadatas(dir string) error {
	return w.each(dir, func(name string, e storage.Entry) (bool, error) {
		id, ok := strings.CutPrefix(e.Name, "process_")
		if !isFile(e) || !ok || strings.Trim(id, "0123456789") != "" {
			return false, nil
		}
		_, err := w.document(name, e, arrayMetadataDoc)
		return true, err
	})
}

// each calls f for the entries of a directory, and refuses those for which f returns
// false.
func (w *walk) each(dir string, f func(name string, e storage.Entry) (bool, error)) error {
	entries, err := w.entries(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name)
		taken, err := f(name, e)
		if err != nil {
			return err
		}
		if !taken {
			w.refuse(name, e)
		}
	}
	return nil
}
