package proof

import (
	"path"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/storage"
)

// rootDocs holds the content of the documents at the root of a checkpoint.
type rootDocs struct {
	dir   string // path of the root
	under string // path in the root of the examined part, if that is not the whole root
	// named are the checkpointables with a handler, and a checkpointable that is being
	// deleted.
	named    map[string]bool
	handlers map[string]string // the types of the handlers, by name; "" if the checkpoint is itself a checkpointable
	all      bool              // the checkpoint has no checkpointables other than named
	digests  *layout.Digests   // nil if there are none, or they are damaged
	// uncommitted says that by the metadata the save has not ended.
	uncommitted bool
	rest        []storage.Entry // the other entries
	trees       []string        // checkpointables that are trees
	documented  bool            // there are documents
	keys        bool            // some are keys of random generators
}

// documents takes the documents at the root of a checkpoint.
func (w *walk) documents(dir string, session bool) (*rootDocs, error) {
	entries, err := w.entries(dir)
	if err != nil {
		return nil, err
	}
	r := &rootDocs{dir: dir, named: map[string]bool{}}
	w.cut = w.partial || !slices.ContainsFunc(entries, func(e storage.Entry) bool { return e.Name == layout.CommitFile })
	for _, e := range entries {
		check := rootCheck(e.Name)
		if check == nil && (session || w.partial) && e.Name == layout.RootMetadataFile {
			check = objectDoc
		}
		if check == nil || !isFile(e) {
			r.rest = append(r.rest, e)
			continue
		}
		r.documented = true
		doc, err := w.document(path.Join(dir, e.Name), e, check)
		if err != nil {
			return nil, err
		}
		// When Orbax makes a checkpoint of a session, it moves the digests of a part into
		// the checkpoint, where they cover only a part of it.
		if session || w.partial || !layout.IsPartDigestFile(e.Name) {
			r.read(e.Name, doc)
		}
	}
	w.partial = w.partial || r.isUnfinished(w.top.Store.Properties(), entries)
	return r, nil
}

// rootCheck returns the check of a document at the root of a checkpoint, or nil if the
// name is not that of a document.
func rootCheck(name string) func([]byte) verdict {
	switch name {
	case layout.CheckpointFile, layout.HandlersFile, layout.DigestFile, layout.DeletionFile, layout.CommitFile, layout.IndicatorFile, layout.PartsFile:
		return checks[name]
	}
	if layout.IsPartDigestFile(name) {
		return digestDoc
	}
	return nil
}

// read adds the content of a document. doc is nil unless the document is intact.
func (r *rootDocs) read(name string, doc []byte) {
	switch {
	case doc == nil:
	case name == layout.CheckpointFile || name == layout.HandlersFile && !r.all:
		meta, err := layout.ParseCheckpoint(doc)
		if err != nil {
			return
		}
		r.handlers, r.uncommitted = meta.Handlers, meta.Uncommitted
		handlers, _ := members(doc)["item_handlers"].(map[string]any)
		for part := range handlers {
			r.named[part] = true
		}
		r.all = len(handlers) > 0
	case name == layout.DeletionFile:
		if part, ok := members(doc)["checkpointable_name"].(string); ok {
			r.named[part] = true
		}
	case layout.IsDigestFile(name):
		r.digests, _ = layout.ParseDigests(doc)
	}
}

// unlisted refuses the invalid documents found so far that the digests do not list: they
// are not damaged documents of this checkpoint but files of other programs.
func (w *walk) unlisted(r *rootDocs) {
	if r.digests == nil {
		return
	}
	w.doubtful = slices.DeleteFunc(w.doubtful, func(name string) bool {
		dir, base := path.Split(name)
		inTree := r.lists(path.Join(dir, layout.TreeFile)) || r.lists(path.Join(dir, "..", layout.TreeFile))
		if isManifest(base) && inTree || base == layout.DeletionFile || layout.IsDigestFile(base) || r.lists(name) {
			return false
		}
		w.strange = append(w.strange, name)
		return true
	})
}

// lists reports whether the digests list a file with this name, or one below it.
func (r *rootDocs) lists(name string) bool {
	if r.digests == nil {
		return false
	}
	if r.dir != "" {
		name = strings.TrimPrefix(name, r.dir+"/")
	}
	name = path.Join(r.under, name)
	if r.digests.Has(name) {
		return true
	}
	for _, file := range r.digests.Names() {
		if strings.HasPrefix(file, name+"/") {
			return true
		}
	}
	return false
}

// root examines a checkpoint, or a session of partial saves.
func (w *walk) root(dir string, session bool) error {
	r, err := w.documents(dir, session)
	if err != nil {
		return err
	}
	rest, bare := r.rest, !r.documented
	if _, flat := r.handlers[""]; flat || !r.all { // otherwise it has checkpointables with names
		var isTree bool
		if rest, isTree, err = w.tree(r, dir, rest); err != nil {
			return err
		}
		bare = bare && !isTree
	}
	for _, e := range rest {
		if err := w.rootEntry(r, e, session); err != nil {
			return err
		}
	}
	w.unlisted(r)
	if bare && dir == "" && !session && !w.partial && !r.keys && !isStep(w.top.Base()) {
		w.several = r.trees
	}
	return nil
}

// rootEntry examines an entry of a root that is not a document and does not belong to a
// tree there.
func (w *walk) rootEntry(r *rootDocs, e storage.Entry, session bool) error {
	name := path.Join(r.dir, e.Name)
	switch {
	case session && e.Type.IsDir() && layout.IsPending(e.Name):
		w.orbax = true
		return w.inside(name, e, func() error { return w.root(name, false) })
	case w.partial && e.Type.IsDir() && isTemporary(e.Name): // of an item of Orbax, or of a removal
		return w.inside(name, e, func() error { return w.root(name, false) })
	case w.partial && isFile(e) && isTemporary(e.Name) && w.top.Store.Properties().NeedsMarker(): // the claim of a dead writer
		w.take(name, e)
		return nil
	case isDir(e) && layout.CheckName(e.Name) == nil || e.Type.IsDir() && e.Name == layout.MetricsName:
		if isLink(e) && !w.leadsToDir(name) {
			break
		}
		return w.partEntry(r, e)
	case isFile(e) && isItemFile(e.Name) && (w.partial && !r.all && r.digests == nil || isStandard(r.handlers[""])):
		_, err := w.document(name, e, itemCheck(e.Name))
		return err
	}
	w.refuse(name, e)
	return nil
}

// isTemporary reports whether a name marks an unfinished directory.
func isTemporary(name string) bool {
	temporary, _ := storage.IsTemporary(name)
	return temporary
}

// leadsToDir reports whether a link leads to a directory.
func (w *walk) leadsToDir(name string) bool {
	info, err := w.top.Join(name).Stat(w.ctx)
	return err == nil && info.Dir
}
