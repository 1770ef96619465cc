package treesave

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"

	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/parallel"
	"github.com/go-orbax/orbax/internal/places"
	"github.com/go-orbax/orbax/internal/reuse"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/ocdbt"
	"github.com/go-orbax/orbax/storage"
)

// sharing holds the fingerprints of a save's chunks and the places of equal chunks. A nil
// *sharing has none.
type sharing struct {
	print  *reuse.Printer
	prints *prints
	// files are the files of the base that the save shares, with the chunks in them that
	// the save uses.
	files []reuse.File
	// place has the places of these chunks.
	place map[reuse.ID]sharedChunk
	// items has the chunks that are written, with their positions among the items of
	// their data file.
	items map[reuse.ID]int
}

// sharedChunk is a stored chunk that a save shares with its base.
type sharedChunk struct {
	ref  ocdbt.Ref
	seal places.Seal
}

// share computes the fingerprints of the plan's chunks, for the item called name, and links into dir those files of
// the base that have enough of them. It returns nil if the save shares nothing and
// records nothing.
func (p *Plan) share(ctx context.Context, name string, dir *ckdir.WriteDir, set *ckdir.Settings) (*sharing, error) {
	if set.Reuse == nil || set.Unmerged { // the files of a part are merged
		return nil, nil
	}
	r := set.Reuse(name)
	if r == nil || r.Fresh() == 1 {
		return nil, nil
	}
	can := dir.Stage().Properties()
	if can.Links == storage.LinkNone {
		r.Report(fmt.Errorf("%w: the store cannot share files between checkpoints", fault.ErrUnsupported))
		return nil, nil
	}
	if p.shareable() < can.ShareMin {
		return nil, nil // no file of it will be worth sharing
	}
	if !set.Alone() && r.Base != nil { // the part of this process
		in := *r
		in.Base = r.Base.Sub(path.Base(dir.Name()))
		r = &in
	}
	base := readBase(ctx, r)
	print, err := reuse.NewPrinter(base.Key)
	if err != nil {
		r.Report(err)
		return nil, nil
	}
	s := &sharing{print: print, place: map[reuse.ID]sharedChunk{}, items: map[reuse.ID]int{}}
	if s.prints, err = p.fingerprint(ctx, dir.Engine(), print); err != nil {
		return nil, err
	}
	if len(base.Files) > 0 {
		if err := s.link(ctx, dir, r, base); err != nil {
			return nil, err
		}
	}
	dir.Engine().Counters().Begin(transfer.Moving, 0)
	return s, ctx.Err()
}

// linksAtOnce is how many files a save links at the same time.
const linksAtOnce = 16

// shareable returns how many bytes other saves can share with this one.
func (p *Plan) shareable() (n int64) {
	for i := range p.arrays {
		if a := &p.arrays[i]; a.printable() {
			n += a.bytes()
		}
	}
	return n
}

// link links the files of the base that have enough of the save's chunks into dir. What
// cannot be linked is written: it is no error.
func (s *sharing) link(ctx context.Context, dir *ckdir.WriteDir, r *ckdir.Reuse, base *reuse.Record) error {
	can := dir.Stage().Properties()
	there := filesOf(ctx, r, base, can.ShareMin)
	sizes := map[string]int64{}
	for name, info := range there {
		sizes[name] = info.Size
	}
	files := base.Choose(s.prints.wanted(), sizes, r.Fresh(), r.Dead())
	errs := make([]error, len(files))
	group, gctx := parallel.WithContext(ctx)
	group.SetLimit(transfer.AtOnce(can, linksAtOnce))
	for i, f := range files {
		group.Go(func() error {
			// The file must be the one that was there with the record of its chunks.
			errs[i] = dir.Stage().Link(gctx, r.Base.At().Join(f.Name).Name, path.Join(dir.Name(), f.Name), storage.LinkOptions{Share: true, Source: there[f.Name]})
			return nil
		})
	}
	if err := cmp.Or(group.Wait(), ctx.Err()); err != nil {
		return err
	}
	for i, f := range files {
		if errs[i] != nil {
			r.Report(fmt.Errorf("%s cannot be shared: %w", f.Name, errs[i]))
			continue
		}
		f.Age++
		s.files = append(s.files, f)
		for _, c := range f.Chunks {
			s.place[c.ID] = sharedChunk{ocdbt.Ref{File: f.Name, Offset: c.Offset, Length: c.Length}, c.Seal}
		}
	}
	return nil
}

// readBase returns the record of the base. It returns an empty record with a new key if
// there is no record that can be read and trusted; the record's own checksum does not
// prove that the record belongs to this save. Chunks without seals are not shared,
// because nothing would show which chunks they have to be.
func readBase(ctx context.Context, r *ckdir.Reuse) *reuse.Record {
	if r.Base != nil {
		rec, err := reuse.Read(ctx, r.Base)
		if rec != nil && rec.Unsealed {
			rec, err = nil, nil
		}
		if rec != nil && r.Base.Covered(layout.ChunksFile) {
			return rec
		}
		if rec != nil {
			err = fmt.Errorf("%w: the digests of the checkpoint do not cover %s", fault.ErrCorrupt, layout.ChunksFile)
		}
		r.Report(err)
	}
	rec := new(reuse.Record)
	rand.Read(rec.Key[:])
	return rec
}

// filesOf returns the files in the base's record that exist with all their chunks and have
// at least so many bytes.
func filesOf(ctx context.Context, r *ckdir.Reuse, base *reuse.Record, least int64) map[string]storage.Info {
	files := map[string]storage.Info{}
	for _, f := range base.Files {
		end := int64(0)
		for _, c := range f.Chunks {
			end = max(end, c.Offset+c.Length)
		}
		info, err := r.Base.Stat(ctx, f.Name)
		switch {
		case err != nil:
			r.Report(err)
		case info.Dir:
			r.Report(fmt.Errorf("%w: %s is a directory", fault.ErrCorrupt, f.Name))
		case info.Size < end:
			r.Report(fmt.Errorf("%w: %s has %d bytes, its chunks end at %d", fault.ErrCorrupt, f.Name, info.Size, end))
		case info.Size >= least:
			files[f.Name] = info
		}
	}
	return files
}

// id returns the ID of the n-th chunk of an array that this process writes. ok is false if the chunk has no fingerprint.
func (s *sharing) id(array, n int) (id reuse.ID, ok bool) {
	if s == nil {
		return id, false
	}
	return s.prints.id(array, n)
}

// checked returns the item of a chunk, with a check that runs once the chunk has been
// written: the chunk must still have the content of which the fingerprint was computed.
// Otherwise a later save could take the stored bytes for something else. Only copies that
// the save itself has made are certain not to change. Arrays that are promised not to
// change, because they are frozen or the save is Immutable, are checked too: a broken
// promise harms one save, and must not harm the next saves. If a chunk changes and has
// its first content again when it is checked, the check passes.
func (s *sharing) checked(ctx context.Context, id reuse.ID, a *planned, k plannedChunk) transfer.Item {
	if a.copied {
		return k.item
	}
	k.item.Written = func() error {
		return a.withChunk(ctx, k.index, func(chunk []byte) error {
			if s.print.Of(chunk) != id.Content {
				return errChanged
			}
			return nil
		})
	}
	return k.item
}

// errChanged reports a data race of the program.
var errChanged = errors.New("the array was changed while it was being saved (if it may change, use SaveAsync, which copies it)")

// wrote returns the record of the save after its items have been written to files.
func (s *sharing) wrote(files *dataFiles) *reuse.Record {
	rec := &reuse.Record{Key: s.print.Key, Files: s.files}
	chunks := map[string][]reuse.Chunk{} // of each file
	for id, i := range s.items {
		at := files.extents[i]
		chunks[at.File] = append(chunks[at.File], reuse.Chunk{ID: id, Offset: at.Offset, Length: at.Length, Seal: files.seals[i]})
	}
	rec.Files = slices.Clip(rec.Files)
	for _, name := range slices.Sorted(maps.Keys(chunks)) {
		slices.SortFunc(chunks[name], func(a, b reuse.Chunk) int { return cmp.Compare(a.Offset, b.Offset) })
		rec.Files = append(rec.Files, reuse.File{Name: name, Chunks: chunks[name]})
	}
	return rec
}
