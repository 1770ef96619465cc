package partial

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/config"
	"github.com/go-orbax/orbax/internal/documents"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/found"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/tree"
)

// Session describes a checkpoint that is being saved in parts.
type Session struct {
	// Path is the path of the future checkpoint.
	Path string
	// Parts are in the order in which they were saved.
	Parts []Part
}

// Part describes the part that one save has added to a session.
type Part struct {
	// Name is the name of the part's directory in the session. It is "" for the Part that
	// stands for all parts that an interrupted finalize by Orbax has merged already.
	Name  string
	Saved time.Time // zero if Name is ""
	Keys  []tree.Path
	Bytes int64 // size of its files
}

// Open describes the session of the checkpoint that will be at path. path may also be the
// path of the session itself. Without a session the error matches [orbax.ErrNotExist].
func Open(ctx context.Context, path string, options ...orbax.StoreOption) (*Session, error) {
	s, err := newSession(ctx, path, storeOf(options))
	if err != nil {
		return nil, wrap(ctx, "open", path, err)
	}
	info, err := s.describe(ctx)
	return info, wrap(ctx, "open", path, s.orAbsent(ctx, err))
}

// Sessions describes the sessions in the directory dir, in the order of their names. If a
// session cannot be read, the result lacks it and the error gives the reason.
func Sessions(ctx context.Context, dir string, options ...orbax.StoreOption) ([]*Session, error) {
	at, err := config.Locate(ctx, storeOf(options), dir)
	if err != nil {
		return nil, wrap(ctx, "list", dir, err)
	}
	infos, err := at.List(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		err = fault.ErrNotExist
	}
	if err != nil {
		return nil, wrap(ctx, "list", dir, err)
	}
	var sessions []*Session
	var errs []error
	for _, info := range infos {
		base, ok := strings.CutSuffix(info.Name, layout.PartialSuffix)
		if !ok || base == "" || !info.Dir {
			continue
		}
		s, err := Open(ctx, at.Join(base).Path(), options...)
		switch {
		case err == nil:
			sessions = append(sessions, s)
		case !errors.Is(err, fault.ErrNotExist): // otherwise it has been finalized meanwhile
			errs = append(errs, err)
		}
	}
	return sessions, errors.Join(errs...)
}

// wrap makes err an *[orbax.Error], unless it is nil or one already. If it came from the
// end of ctx it says why that ended.
func wrap(ctx context.Context, op, path string, err error) error {
	err = fault.WithCause(ctx, err)
	var already *orbax.Error
	if err == nil || errors.As(err, &already) {
		return err
	}
	return &orbax.Error{Op: op, Path: path, Err: err}
}

// session says where the parts of a checkpoint are.
type session struct {
	given storage.Store    // by the caller, or nil
	final storage.Location // of the checkpoint
	dir   storage.Location // of the session, beside it
}

// storeOf returns the store that options name, or nil.
func storeOf(options []orbax.StoreOption) storage.Store { return config.NewOpen(options).Store }

func newSession(ctx context.Context, p string, store storage.Store) (*session, error) {
	at, err := config.Locate(ctx, store, p)
	if err != nil {
		return nil, err
	}
	if at.Called == "" {
		at.Called = p
	}
	s := &session{given: store, final: at}
	var ofSession bool
	if s.final.Name, ofSession = strings.CutSuffix(path.Clean(at.Name), layout.PartialSuffix); ofSession {
		s.final.Called = at.Dir().Join(s.final.Base()).Called
	}
	if base := s.final.Base(); base == "/" || base == "." || base == ".." || strings.HasSuffix(s.final.Name, "/") {
		return nil, fmt.Errorf("%w: it is not the path of a checkpoint", fault.ErrReservedName)
	}
	dir := s.final.Name + layout.PartialSuffix
	s.final.Store = storage.Confine(at.Store, dir, false)
	s.dir = storage.At(s.final.Store, dir)
	return s, nil
}

// marker returns the marker that a part, or the checkpoint, needs to be complete; "" if the
// store makes them appear in one step.
func (s *session) marker() string {
	if s.dir.Store.Properties().NeedsMarker() {
		return layout.CommitFile
	}
	return ""
}

// exists reports whether there is a session.
func (s *session) exists(ctx context.Context) (bool, error) {
	info, err := s.dir.Stat(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil && !info.Dir {
		err = fmt.Errorf("%w: %s is a file", fault.ErrInvalidCheckpoint, s.dir.Name)
	}
	return err == nil, err
}

// absent returns the error for a session that does not exist.
func (s *session) absent() error {
	return fmt.Errorf("%w: there is no session %s", fault.ErrNotExist, s.dir.Name)
}

// orAbsent takes the error of reading the session. If another process has removed the
// session meanwhile, files were missing for that reason, and orAbsent returns the error
// of absent. Otherwise it returns err.
func (s *session) orAbsent(ctx context.Context, err error) error {
	if err != nil {
		if exists, serr := s.exists(ctx); !exists && serr == nil {
			return s.absent()
		}
	}
	return err
}

// part is a directory of a session with a pytree, or with the files that an interrupted
// finalize by Orbax has left of one.
type part struct {
	name    string // of its directory; "" is the session itself
	id      string // letters and digits that no other part has
	saved   int64  // ns
	dir     storage.Location
	doc     []byte // contents of _CHECKPOINT_METADATA, nil if it is gone
	state   *ckdir.ReadDir
	digests ckdir.Digests // nil for a part of another writer
}

// contents is the contents of a session.
type contents struct {
	parts      []part // the session itself first, if it has a pytree
	unknown    []string
	unfinished bool // there are parts without the marker that the store needs
}

// read lists the parts and opens them.
func (s *session) read(ctx context.Context) (*contents, error) {
	c, err := list(ctx, s.dir)
	if err != nil {
		return nil, err
	}
	return c, c.open(ctx)
}

// list lists the parts. A finalize by Orbax moves the files of the parts, one by one,
// into the session itself. If it was interrupted, there are parts that lack files, and
// the session itself counts as a further part. In a store that cannot rename, a directory
// without its marker is no part: its save has died or goes on.
func list(ctx context.Context, dir storage.Location) (*contents, error) {
	infos, err := dir.List(ctx)
	if err != nil {
		return nil, err
	}
	c := &contents{}
	merged, needsMarker := false, dir.Store.Properties().NeedsMarker()
	for _, info := range infos {
		p, ok := parsePart(info)
		switch {
		case ok:
			p.dir = dir.Join(p.name)
			complete, err := found.Committed(ctx, p.dir)
			if err != nil {
				return nil, err
			}
			if !complete {
				c.unfinished = true
				continue
			}
			c.parts = append(c.parts, p)
		case isRootEntry(info):
			merged = true
		case needsMarker && isTemporary(info.Name): // of the save of a part that has died
			c.unfinished = true
		default:
			c.unknown = append(c.unknown, info.Name)
		}
	}
	slices.SortFunc(c.parts, func(a, b part) int { return cmp.Or(cmp.Compare(a.saved, b.saved), cmp.Compare(a.name, b.name)) })
	if merged {
		c.parts = slices.Insert(c.parts, 0, part{dir: dir})
	}
	return c, nil
}

func (c *contents) open(ctx context.Context) error {
	merging := len(c.parts) > 0 && c.parts[0].name == ""
	for i := range c.parts {
		if err := c.parts[i].open(ctx, merging, c); err != nil {
			return err
		}
	}
	return nil
}

// open reads the documents at the root of a part. merging says that a finalize by Orbax
// has begun.
func (p *part) open(ctx context.Context, merging bool, c *contents) error {
	if p.name != "" {
		infos, err := p.dir.List(ctx)
		if err != nil {
			return err
		}
		for _, info := range infos {
			if !isRootEntry(info) {
				c.unknown = append(c.unknown, path.Join(p.name, info.Name))
			}
		}
		if err := p.readDigests(ctx, merging); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	p.state = ckdir.NewReadDir(ckdir.Place{Root: p.dir, Name: layout.DefaultName, Digests: p.digests})
	doc, err := ckdir.NewReadDir(ckdir.Place{Root: p.dir, Name: ".", Digests: p.digests}).ReadFile(ctx, layout.CheckpointFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", p.dir.Name, err)
	}
	p.doc = doc
	return nil
}

func (p *part) readDigests(ctx context.Context, merging bool) error {
	d, err := documents.ReadDigests(ctx, p.dir, digestFile(p.id))
	if err != nil || d == nil {
		return err
	}
	p.digests = d
	if merging {
		p.digests = movedDigests{d}
	}
	return nil
}

// movedDigests are the digests of a part whose files Orbax may have moved away.
type movedDigests struct{ *layout.Digests }

func (movedDigests) Has(string) bool { return false }

// title returns the name of the part for messages.
func (p *part) title() string { return cmp.Or(p.name, p.dir.Base()) }

// tree returns the tree document of a part, with the leaves in order. If the document has
// been moved away, the result has no leaves.
func (p *part) tree(ctx context.Context) (*layout.TreeMetadata, error) {
	doc, err := p.state.ReadFile(ctx, layout.TreeFile)
	if errors.Is(err, fs.ErrNotExist) {
		return &layout.TreeMetadata{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.dir.Name, err)
	}
	m, err := layout.ParseTree(doc)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.dir.Name, err)
	}
	slices.SortFunc(m.Leaves, func(a, b layout.TreeLeaf) int { return a.Path.Compare(b.Path) })
	return m, nil
}

func (s *session) describe(ctx context.Context) (*Session, error) {
	c, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	if len(c.parts) == 0 && c.unfinished { // the first part is still being saved
		return nil, s.absent()
	}
	info := &Session{Path: s.final.Path()}
	for _, p := range c.parts {
		part := Part{Name: p.name}
		if p.name != "" {
			part.Saved = time.Unix(0, p.saved).UTC()
		}
		t, err := p.tree(ctx)
		if err != nil {
			return nil, err
		}
		for _, l := range t.Leaves {
			part.Keys = append(part.Keys, l.Path)
		}
		if part.Bytes, err = size(ctx, p.dir, p.name == ""); err != nil {
			return nil, err
		}
		info.Parts = append(info.Parts, part)
	}
	return info, nil
}

// size returns the size of all files below dir. withoutParts leaves out the parts in the
// session itself.
func size(ctx context.Context, dir storage.Location, withoutParts bool) (int64, error) {
	infos, err := dir.List(ctx)
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, info := range infos {
		if _, isPart := parsePart(info); withoutParts && isPart {
			continue
		}
		n := info.Size
		if info.Dir {
			if n, err = size(ctx, dir.Join(info.Name), false); err != nil {
				return 0, err
			}
		}
		sum += n
	}
	return sum, nil
}
