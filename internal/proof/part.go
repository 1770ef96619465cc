package proof

import (
	"path"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/storage"
)

// partEntry examines a directory at the root that may be a checkpointable.
func (w *walk) partEntry(r *rootDocs, e storage.Entry) error {
	name := path.Join(r.dir, e.Name)
	if isLink(e) {
		if r.named[e.Name] {
			w.take(name, e)
		} else {
			w.refuse(name, e)
		}
		return nil
	}
	before := len(w.items)
	w.take(name, e)
	strange, proven := len(w.strange), w.proven
	err := w.part(r, e.Name, name)
	if len(w.strange) > strange && !r.named[e.Name] && w.proven == proven { // none of its entries belongs to a checkpoint
		w.strange, w.items = w.strange[:strange], w.items[:before]
		w.refuse(name, e)
	}
	return err
}

// part examines the directory dir of the checkpointable called name.
func (w *walk) part(r *rootDocs, name, dir string) error {
	entries, err := w.entries(dir)
	if err != nil {
		return err
	}
	refuse := func() error {
		w.strange = append(w.strange, path.Join(r.dir, name)+"/")
		return nil
	}
	ours := slices.Contains([]string{layout.MetricsName, layout.DescriptorName}, name)
	named := r.named[name] || ours || r.lists(path.Join(r.dir, name))
	switch {
	case r.isNested(dir, entries):
		return refuse()
	case !named && (r.all || r.digests != nil):
		return refuse() // there is no such checkpointable
	}
	proven, strange, doubtful := w.proven, len(w.strange), len(w.doubtful)
	rest, isTree, err := w.tree(r, dir, entries)
	if err != nil {
		return err
	}
	if isTree {
		r.trees = append(r.trees, name)
	}
	if w.partial && !named && !isTree { // an array of a tree at the root that has no document yet
		if rest, err = w.arrays(dir, leafNames{}, rest); err != nil {
			return err
		}
	}
	if !named && !w.partial && isTree && w.proven == proven {
		return refuse() // only the names match
	}
	c := contents{r: r, typ: r.handlers[name], tree: isTree}
	// Orbax records the handler of such objects for trees that it has finalized.
	c.own = named && !ours && IsOwn(c.typ) && r.digests == nil && !(isTree && strings.Contains(c.typ, stateful))
	err = w.item(c, dir, rest)
	if err == nil && IsOwn(c.typ) && r.digests != nil {
		err = w.listed(c, strange, doubtful)
	}
	w.unlisted(r)
	return err
}

// listed accepts what has been refused of a checkpointable, and the documents that are not
// what their names say, if the digests list them: the program's own handler has written
// them, whatever their names. strange and doubtful are the numbers of those that were
// refused before.
func (w *walk) listed(c contents, strange, doubtful int) error {
	w.doubtful = slices.DeleteFunc(w.doubtful, func(name string) bool {
		doubtful--
		return doubtful < 0 && c.r.lists(name)
	})
	refused := slices.Clone(w.strange[strange:])
	w.strange = w.strange[:strange]
	for _, name := range refused {
		file := strings.TrimSuffix(name, "/")
		switch {
		case !c.r.lists(file):
			w.strange = append(w.strange, name)
		case file == name:
			w.items = append(w.items, storage.Item{Name: name})
		default:
			w.items = append(w.items, storage.Item{Name: file, Dir: true})
			if err := w.ownDir(c, file); err != nil {
				return err
			}
		}
	}
	return nil
}

// isNested reports whether the directory dir holds files that make it a checkpoint itself,
// or an unfinished one. Files that the digests of the checkpoint around it list do not.
func (r *rootDocs) isNested(dir string, entries []storage.Entry) bool {
	return slices.ContainsFunc(entries, func(e storage.Entry) bool {
		switch {
		case e.Name == layout.CheckpointFile, e.Name == layout.IndicatorFile, e.Name == layout.DeletionFile, e.Name == layout.DigestFile:
		case e.Type.IsDir() && (strings.Contains(e.Name, storage.TempMarker) || strings.HasSuffix(e.Name, layout.PartialSuffix) || layout.IsPending(e.Name)):
		default:
			return false
		}
		return !r.lists(path.Join(dir, e.Name))
	})
}

// contents holds the facts about the files of a checkpointable that is not a tree.
type contents struct {
	r   *rootDocs
	typ string // type of its handler
	own bool   // the handler may write any files, and there is no list of them
	// tree says that there are the files of a tree, which have no other documents next to
	// them.
	tree bool
}

// item examines entries of a checkpointable that do not belong to a tree.
func (w *walk) item(c contents, dir string, entries []storage.Entry) error {
	for _, e := range entries {
		name := path.Join(dir, e.Name)
		var err error
		switch {
		case isFile(e) && e.Name == layout.CommitFile:
			_, err = w.document(name, e, commitDoc)
		case isFile(e) && (c.r.lists(name) || c.own):
			w.take(name, e)
		case isFile(e) && isItemFile(e.Name) && !c.tree && (c.r.digests == nil || path.Base(dir) == layout.MetricsName):
			_, err = w.document(name, e, itemCheck(e.Name))
		case e.Type.IsDir() && isRandomKey(e.Name) && (c.typ == "" || strings.Contains(c.typ, "RandomKey")):
			c.r.keys = true
			err = w.inside(name, e, func() error { return w.randomKey(c, name) })
		case e.Type.IsDir() && (c.r.lists(name) || c.own):
			err = w.inside(name, e, func() error { return w.ownDir(c, name) })
		default:
			w.refuse(name, e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ownDir examines a directory that a handler has made.
func (w *walk) ownDir(c contents, dir string) error {
	entries, err := w.entries(dir)
	if err != nil {
		return err
	}
	if c.r.isNested(dir, entries) {
		w.strange = append(w.strange, dir+"/")
		return nil
	}
	return w.item(c, dir, entries)
}

// isRandomKey reports whether name is the name of an item of a random key: the key
// itself, or its description.
func isRandomKey(name string) bool {
	name = strings.TrimSuffix(name, "_metadata")
	return name == "jax_random_key" || name == "np_random_key"
}

func (w *walk) randomKey(c contents, dir string) error {
	entries, err := w.entries(dir)
	if err != nil {
		return err
	}
	rest, _, err := w.tree(c.r, dir, entries)
	if err != nil {
		return err
	}
	return w.item(contents{r: c.r}, dir, rest)
}

// isStandard reports whether a type is that of one of Orbax's handlers of documents.
func isStandard(typ string) bool { return typ != "" && !IsOwn(typ) }

// IsOwn reports whether a handler of this type may write files of any name. Handlers of
// objects that save themselves may, and all handlers that are not Orbax's.
func IsOwn(typ string) bool {
	return typ != "" && (!strings.HasPrefix(typ, "orbax.checkpoint.") || strings.Contains(typ, stateful))
}

// stateful occurs in the types of Orbax's handlers of objects that save themselves.
const stateful = "Stateful"

// isItemFile reports whether name is the name of the file of a checkpointable that is a
// document: JSON, a protocol buffer, metrics, or a dataset's iterator.
func isItemFile(name string) bool {
	switch name {
	case "metadata", "data.json", layout.MetricsName, layout.ProtoFile, "descriptor.pbtxt":
		return true
	}
	rest, process := strings.CutPrefix(name, "process_")
	rest, ofJSON := strings.CutSuffix(rest, ".json")
	index, count, of := strings.Cut(rest, "-of-")
	return process && ofJSON && of && isNumber(index) && isNumber(count)
}

// itemCheck returns the check of such a file.
func itemCheck(name string) func([]byte) verdict {
	if strings.HasSuffix(name, ".pbtxt") {
		return textDoc
	}
	return jsonDoc
}

// isNumber reports whether s consists of decimal digits.
func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
