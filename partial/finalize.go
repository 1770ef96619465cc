package partial

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/documents"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/frozen"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/proof"
	"github.com/go-orbax/orbax/internal/save"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/internal/union"
	"github.com/go-orbax/orbax/storage"
)

// Option is an option of [Finalize] and [Abort]: the result of [orbax.In], or
// [multihost.Together].
type Option interface {
	ApplySave(c *save.Config)
	ForSessions()
}

// Finalize makes the checkpoint at path of all parts of its session, and removes the
// session. path may also be the path of the session itself. Finalize waits for saves that
// began earlier.
//
// The session does not change until the checkpoint is complete and durable at path. Array
// data is linked instead of copied, if the store has links. If Finalize fails or dies,
// call it again. It then makes the checkpoint; or, if the checkpoint has been made of
// this session already, it only removes the session; or, if the session has been removed
// too, it does nothing and returns no error. It also completes a finalize by Orbax that
// failed or died.
//
// Without a session the error matches [orbax.ErrNotExist]. If the session has no parts,
// it matches [orbax.ErrStructure]. If path has something that was not made of this
// session, it matches [orbax.ErrExist]. If parts are damaged, it matches
// [orbax.ErrCorrupt]; if their leaves do not fit together, [orbax.ErrKeyCollision]. If
// the parts have arrays in several zarr formats, which only saves by Orbax can lead to,
// it matches [orbax.ErrUnsupported], names the parts, and says what to do.
//
// With [multihost.Together] all processes of the group call Finalize, and the process with
// rank 0 does the work. All get its outcome.
func Finalize(ctx context.Context, path string, options ...Option) error {
	return end(ctx, "finalize", path, options, (*session).finalize)
}

// Abort removes the session of the checkpoint that would have been at path, with all its
// parts. Without a session the error matches [orbax.ErrNotExist]. The processes of a group
// abort it together, as they finalize it.
func Abort(ctx context.Context, path string, options ...Option) error {
	return end(ctx, "abort", path, options, func(s *session, ctx context.Context, claim storage.Edit) error {
		if claim == nil {
			return s.absent()
		}
		if err := s.clear(ctx); err != nil {
			return err
		}
		return claim.RemoveAll(ctx, proof.Session(s.dir.Store))
	})
}

// end calls f with the session and its claim, in one process of a group.
func end(ctx context.Context, what, path string, options []Option, f func(*session, context.Context, storage.Edit) error) error {
	c := save.NewConfig(options)
	s, err := newSession(ctx, path, c.Store)
	work := func() error {
		return s.alone(ctx, func(ctx context.Context, claim storage.Edit) error { return f(s, ctx, claim) })
	}
	switch {
	case c.Group != nil && c.Group.Size() > 1:
		err = inGroup(ctx, c.Group, what, err, work)
	case err == nil:
		err = work()
	}
	return wrap(ctx, what, path, err)
}

// inGroup calls work in the process with rank 0, unless one of the processes has failed.
func inGroup(ctx context.Context, g *coord.Group, what string, err error, work func() error) error {
	op := g.Begin(what + " a session")
	if err = op.Agree(ctx, "begin", err); err == nil {
		if g.Rank() == 0 {
			err = work()
		}
		err = op.Agree(ctx, what, err)
	}
	return op.End(ctx, err)
}

// alone calls f with the claim of the session, while no one else works on the session.
// The claim is nil if there is no session.
func (s *session) alone(ctx context.Context, f func(context.Context, storage.Edit) error) error {
	t := s.join()
	defer t.leave()
	if err := t.wait(ctx); err != nil {
		return err
	}
	claim, err := s.claim(ctx)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = f(ctx, nil)
	case err == nil:
		err = errors.Join(f(ctx, claim), claim.Close())
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		// Remove the leftovers of dead writers, also of an Abort that has died. Leftovers
		// that cannot be removed do no harm.
		_ = errors.Join(proof.RemoveLeft(ctx, s.dir), proof.RemoveLeft(ctx, s.final))
	}
	return err
}

// claim waits until no other process works on the session, and claims it.
func (s *session) claim(ctx context.Context) (claim storage.Edit, err error) {
	if err := s.canEnd(); err != nil {
		return nil, err
	}
	err = patiently(ctx, func() error {
		claim, err = s.dir.Store.Edit(ctx, s.dir.Name)
		return err
	})
	return claim, err
}

// canEnd returns an error if the store cannot remove sessions, so that none ever ends.
func (s *session) canEnd() error {
	if !s.dir.Store.Properties().Edit {
		return fmt.Errorf("%w: the store of %s cannot remove sessions, which Finalize and Abort do", fault.ErrUnsupported, s.dir.Name)
	}
	return nil
}

// missing returns the result of Finalize for a session that does not exist: no error if
// the session has been finalized.
func (s *session) missing(ctx context.Context) error {
	made, err := s.madeOf(ctx)
	switch {
	case err != nil:
		return err
	case made != nil:
		return nil
	}
	if _, err := s.final.Stat(ctx); err == nil {
		return fmt.Errorf("%w, and there is no session %s", fault.ErrExist, s.dir.Name)
	}
	return s.absent()
}

func (s *session) finalize(ctx context.Context, claim storage.Edit) error {
	if claim == nil {
		return s.missing(ctx)
	}
	// Everything that is read of the session is in this listing. If the store once failed
	// to find a file, that file would be missing from the checkpoint, and would be
	// removed with the session.
	before, err := frozen.New(ctx, s.dir)
	if err != nil {
		return err
	}
	listed := s.dir
	listed.Store = before
	c, err := list(ctx, listed)
	if err != nil {
		return err
	}
	ids, err := c.ids(ctx)
	if err != nil {
		return err
	}
	if err := s.clear(ctx); err != nil {
		return err
	}
	switch _, err := s.final.Stat(ctx); {
	case err == nil:
		return s.finish(ctx, claim, c, ids, before)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := c.open(ctx); err != nil {
		return err
	}
	if len(c.unknown) > 0 {
		return fmt.Errorf("%w: the session has entries that no partial save writes: %q", fault.ErrUnsupported, c.unknown)
	}
	if len(ids) == 0 {
		return fmt.Errorf("%w: the session %s has no parts", fault.ErrStructure, s.dir.Name)
	}
	if err := s.merge(ctx, c, ids, before); err != nil {
		return err
	}
	if err := before.Unchanged(ctx); err != nil {
		return fmt.Errorf("%w; its session is left: %w", fault.ErrInPlace, err)
	}
	if err := claim.RemoveAll(ctx, proof.Session(s.dir.Store)); err != nil {
		return fmt.Errorf("%w; removing its session failed: %w", fault.ErrInPlace, err)
	}
	return nil
}

// finish removes the session if the existing checkpoint was made of it and is intact.
func (s *session) finish(ctx context.Context, claim storage.Edit, c *contents, ids []string, before *frozen.Store) error {
	made, err := s.madeOf(ctx)
	if err != nil {
		return err
	}
	other := func(id string) bool { return !slices.Contains(made, id) }
	if made == nil || len(c.unknown) > 0 || len(ids) < len(c.parts) || slices.ContainsFunc(ids, other) {
		return fmt.Errorf("%w, and was not made of the session %s, which is left as it is", fault.ErrExist, s.dir.Name)
	}
	if err := s.checkMade(ctx); err != nil {
		return fmt.Errorf("the checkpoint that was made of the session %s, which is left as it is: %w", s.dir.Name, err)
	}
	if err := before.Unchanged(ctx); err != nil {
		return err
	}
	return claim.RemoveAll(ctx, proof.Session(s.dir.Store))
}

// checkMade checks that the existing checkpoint is intact.
func (s *session) checkMade(ctx context.Context) error {
	m, err := orbax.Metadata(ctx, s.final.Path(), orbax.In(s.given))
	if err == nil {
		err = m.Err()
	}
	if err != nil {
		return err
	}
	digests, err := documents.ReadDigests(ctx, s.final, layout.DigestFile)
	if err != nil {
		return err
	}
	if digests == nil {
		return fmt.Errorf("%w: missing file %s", fault.ErrCorrupt, layout.DigestFile)
	}
	if err := errors.Join(documents.CheckAll(ctx, s.final, "", digests)...); err != nil {
		return err
	}
	return union.Check(ctx, ckdir.NewReadDir(ckdir.Place{Root: s.final, Name: layout.DefaultName, Digests: digests}))
}

// ids returns strings that identify the parts among those of all sessions: their names,
// and, for parts that Orbax has merged, the digest of the merged tree.
func (c *contents) ids(ctx context.Context) ([]string, error) {
	var ids []string
	for _, p := range c.parts {
		if p.name != "" {
			ids = append(ids, p.name)
			continue
		}
		doc, err := transfer.ReadFile(ctx, p.dir, path.Join(layout.DefaultName, layout.TreeFile), 0, -1)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(doc)
		ids = append(ids, "merged:"+hex.EncodeToString(sum[:]))
	}
	return ids, nil
}

// merge writes the checkpoint, if the session has not changed since before.
func (s *session) merge(ctx context.Context, c *contents, ids []string, before *frozen.Store) error {
	parts := make([]union.Input, len(c.parts))
	for i, p := range c.parts {
		parts[i] = union.Input{Dir: p.state, Suffix: p.id}
		if digests, ok := p.digests.(*layout.Digests); ok {
			if err := errors.Join(documents.CheckAll(ctx, p.dir, "", digests)...); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
	}
	u, err := union.Open(ctx, parts...)
	if errors.Is(err, fault.ErrUnsupported) {
		return cmp.Or(c.checkFormats(ctx, s.dir.Name), err)
	}
	if err != nil {
		return err
	}
	if strays := u.Strays(); len(strays) > 0 {
		return fmt.Errorf("%w: no part has the metadata of the arrays %q", fault.ErrCorrupt, strays)
	}
	meta, err := c.metadata()
	if err != nil {
		return err
	}
	stage, err := s.final.Store.Begin(ctx, s.final.Name, storage.BeginOptions{Marker: s.marker()})
	if err != nil {
		return err
	}
	err = s.write(ctx, stage, u, meta, ids)
	if err == nil {
		err = before.Unchanged(ctx)
	}
	if err != nil {
		return errors.Join(err, stage.Abort())
	}
	return stage.Commit(ctx)
}

func (s *session) write(ctx context.Context, stage storage.Stage, u *union.Union, meta *layout.CheckpointMetadata, ids []string) error {
	var digests layout.Digests
	put := func(name string, data []byte) error {
		digests.Add(name, sha256.Sum256(data))
		return transfer.WriteFile(ctx, stage, name, data)
	}
	parts, err := layout.EncodeJSON(partsDoc{ids})
	if err != nil {
		return err
	}
	if s.marker() != "" { // what is left if this process dies must show what it is
		if err := errors.Join(put(layout.PartsFile, parts), put(layout.IndicatorFile, nil)); err != nil {
			return err
		}
	}
	dir, err := ckdir.NewWriteDir(ctx, nil, stage, layout.DefaultName, digests.Add)
	if err != nil {
		return err
	}
	if err := u.Write(ctx, dir); err != nil {
		return err
	}
	if s.marker() == "" {
		if err := put(layout.PartsFile, parts); err != nil {
			return err
		}
	}
	meta.CommitTime = time.Now()
	if err := documents.Write(ctx, nil, stage, meta, &digests, layout.DigestFile, s.final.Name); err != nil {
		return err
	}
	// The parts are removed afterwards, so the checkpoint that replaces them is read once
	// more.
	made := storage.At(s.final.Store, stage.Dir())
	if err := errors.Join(documents.CheckStaged(ctx, made, &digests)...); err != nil {
		return err
	}
	return u.Check(ctx, ckdir.NewReadDir(ckdir.Place{Root: made, Name: layout.DefaultName, Digests: &digests}))
}

// metadata merges the metadata of the parts.
func (c *contents) metadata() (*layout.CheckpointMetadata, error) {
	merged := &layout.CheckpointMetadata{
		Handlers: map[string]string{layout.DefaultName: handler.PyTreeHandler{}.Type()},
	}
	for _, p := range c.parts {
		if p.doc == nil {
			continue
		}
		err := merged.Merge(p.doc)
		if errors.Is(err, fault.ErrUnsupported) {
			err = fmt.Errorf("%w; finalize this session with Orbax", err)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.dir.Join(layout.CheckpointFile).Name, err)
		}
	}
	return merged, nil
}
