package handler

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/ocdbt"
	"github.com/go-orbax/orbax/storage"
)

// Reuse makes the saves of a run incremental: a chunk of an array whose content is
// that of a chunk of the save before is not written again. The data file that has
// it gets a second name, by a hard link, in the new directory, whose database
// refers to it there. So every save is complete in itself: Python loads it, and
// any other may be deleted.
//
// A save with a Reuse records the fingerprints of its chunks, for the next one, in
// a file that Orbax ignores. Only chunks of arrays in memory (*array.Array) that are
// stored in a database are recorded and shared. A save always writes the chunks of other
// readers, to data files of their own, plain files, chunks of 1024 bytes or less, and
// every chunk that cannot be shared for some other reason.
//
// Equal chunks of one save are stored once.
type Reuse struct {
	// Base is the same checkpointable in an earlier, complete checkpoint in the
	// same store. Nothing is shared if it is nil, was saved without a Reuse or by a
	// version that did not record the chunks' seals, or has no digest of what that recorded.
	Base *ReadDir
	// FreshEvery is the number of saves after which bytes are written anew, so that
	// damage to them does not last: a save does not share bytes that FreshEvery-1 saves
	// have shared already. 0 stands for 10; with 1 nothing is shared or recorded.
	FreshEvery int
	// MaxDead bounds how much of a shared file may be bytes that are in no chunk of
	// the save any more, from 0 to 1. A page of 4096 bytes is not counted. 0 stands
	// for 0.5.
	MaxDead float64
	// Problem, if set, is called with the error if something failed and less is shared
	// because of that. The save goes on.
	Problem func(error)
}

// Reuse makes the save of a pytree share with an earlier one, and record what it
// has for the next. Package orbax calls it. With nil the save does neither.
func (d *WriteDir) Reuse(r *Reuse) { d.reuse = r }

const (
	defaultFreshEvery = 10
	defaultMaxDead    = 0.5
	// maxShared bounds the files of a save. It matters for a run of which each save
	// changes little; those that it drops have the fewest bytes to share.
	maxShared = 128
)

func (r *Reuse) freshEvery() int {
	if r.FreshEvery <= 0 {
		return defaultFreshEvery
	}
	return r.FreshEvery
}

func (r *Reuse) maxDead() float64 {
	if !(r.MaxDead > 0) {
		return defaultMaxDead
	}
	return r.MaxDead
}

func (r *Reuse) problem(err error) {
	if err != nil && r.Problem != nil {
		r.Problem(err)
	}
}

// sharing is what a save knows of the contents of its chunks. A nil one knows
// nothing.
type sharing struct {
	print  *printer
	prints *prints
	// files are those of the base that the save has, with the chunks that it
	// refers to in them.
	files []recordFile
	// place is where these chunks are.
	place map[chunkID]sharedChunk
	// items are the chunks that are written, by their positions among the items of
	// their data file.
	items map[chunkID]int
}

// sharedChunk is a stored chunk that a save has from its base.
type sharedChunk struct {
	ref  ocdbt.Ref
	seal seal
}

// share computes the fingerprints of the plan's chunks and links the files of the
// base that have enough of them into dir. It returns nil if the save is to be as
// any other.
func (p *savePlan) share(ctx context.Context, dir *WriteDir) (*sharing, error) {
	r := dir.reuse
	if r == nil || r.freshEvery() == 1 || dir.database != "" { // a part's files are merged
		return nil, nil
	}
	if dir.stage.Properties().Links != storage.LinkHard {
		r.problem(fmt.Errorf("%w: the store cannot share files between checkpoints", fault.ErrUnsupported))
		return nil, nil
	}
	base := r.readBase(ctx)
	print, err := newPrinter(base.key)
	if err != nil {
		r.problem(err)
		return nil, nil
	}
	s := &sharing{print: print, place: map[chunkID]sharedChunk{}, items: map[chunkID]int{}}
	if s.prints, err = p.fingerprint(ctx, dir.engine, print); err != nil {
		return nil, err
	}
	if len(base.files) > 0 {
		s.link(ctx, dir, base)
	}
	dir.engine.Counters().Begin(transfer.Moving, 0)
	return s, ctx.Err()
}

// link links the files of the base that have enough of the save's chunks into dir.
func (s *sharing) link(ctx context.Context, dir *WriteDir, base *record) {
	r := dir.reuse
	for _, f := range base.choose(s.prints.wanted(), r.sizes(ctx, base), r.freshEvery(), r.maxDead()) {
		if err := dir.stage.Link(ctx, path.Join(r.Base.path(), f.name), path.Join(dir.name, f.name), storage.LinkOptions{Share: true}); err != nil {
			if ctx.Err() != nil {
				return
			}
			r.problem(fmt.Errorf("%s cannot be shared: %w", f.name, err))
			continue
		}
		f.age++
		s.files = append(s.files, f)
		for _, c := range f.chunks {
			s.place[c.id] = sharedChunk{ocdbt.Ref{File: f.name, Offset: c.offset, Length: c.length}, c.seal}
		}
	}
}

// readBase returns the record of the base, an empty one with a new key if there is
// none that can be read and trusted: the record's own checksum does not tell whether
// it is that of this save. Chunks without seals are not shared: nothing would say which
// ones they must be.
func (r *Reuse) readBase(ctx context.Context) *record {
	if r.Base != nil {
		rec, err := r.Base.readRecord(ctx)
		if rec != nil && rec.unsealed {
			rec, err = nil, nil
		}
		if rec != nil && r.Base.digests.Has(path.Join(r.Base.name, layout.ChunksFile)) {
			return rec
		}
		if rec != nil {
			err = fmt.Errorf("%w: the digests of the checkpoint do not cover %s", fault.ErrCorrupt, layout.ChunksFile)
		}
		r.problem(err)
	}
	rec := new(record)
	rand.Read(rec.key[:])
	return rec
}

// readRecord returns the record of a pytree, nil if it has none.
func (d *ReadDir) readRecord(ctx context.Context) (*record, error) {
	doc, err := d.readOptional(ctx, layout.ChunksFile)
	if doc == nil || err != nil {
		return nil, err
	}
	r, err := parseRecord(doc)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", layout.ChunksFile, err)
	}
	return r, nil
}

// sharedFiles tells the data files that a save may have shared with earlier ones. Of
// one whose record cannot be read they are all.
func (d *ReadDir) sharedFiles(ctx context.Context) func(file string) bool {
	r, err := d.readRecord(ctx)
	shared := map[string]bool{}
	if r != nil {
		for _, f := range r.files {
			shared[f.name] = f.age > 0
		}
	}
	return func(file string) bool { return err != nil || shared[file] }
}

// sizes returns the sizes of the files of the base's record that are there, with all
// their chunks.
func (r *Reuse) sizes(ctx context.Context, base *record) map[string]int64 {
	sizes := map[string]int64{}
	for _, f := range base.files {
		end := int64(0)
		for _, c := range f.chunks {
			end = max(end, c.offset+c.length)
		}
		info, err := r.Base.stat(ctx, f.name)
		switch {
		case err != nil:
			r.problem(err)
		case info.Dir:
			r.problem(fmt.Errorf("%w: %s is a directory", fault.ErrCorrupt, f.name))
		case info.Size < end:
			r.problem(fmt.Errorf("%w: %s has %d bytes, its chunks end at %d", fault.ErrCorrupt, f.name, info.Size, end))
		default:
			sizes[f.name] = info.Size
		}
	}
	return sizes
}

// id returns what tells chunk n of an array from those of other content or form.
func (s *sharing) id(array, n int) (id chunkID, ok bool) {
	if s == nil {
		return id, false
	}
	return s.prints.id(array, n)
}

// checked returns the item of a chunk, with the check that the chunk still is what it
// was when its fingerprint was computed once it has been written. Else a later save
// could take the stored bytes for something that they are not. Only what the save
// itself has copied is certain not to change. Arrays that are said not to, frozen or
// of a save that is Immutable, are no exception: what breaks such a promise harms one
// save, and must not harm the next ones. A chunk that has its first content again
// when it is checked passes, whatever it was while it was encoded.
func (s *sharing) checked(ctx context.Context, id chunkID, a *saveArray, k saveChunk) transfer.Item {
	if a.copied {
		return k.item
	}
	k.item.Written = func() error {
		return a.withChunk(ctx, k.index, func(chunk []byte) error {
			if s.print.of(chunk) != id.content {
				return errChanged
			}
			return nil
		})
	}
	return k.item
}

// errChanged tells of a data race of the program.
var errChanged = errors.New("the array was changed while it was being saved (what may change is for SaveAsync, which copies it)")

// wrote returns the record of the save, after the items were written to files.
func (s *sharing) wrote(files *dataFiles) *record {
	rec := &record{key: s.print.key, files: s.files}
	chunks := map[string][]recordChunk{} // of each file
	for id, i := range s.items {
		at := files.extents[i]
		chunks[at.File] = append(chunks[at.File], recordChunk{id, at.Offset, at.Length, files.seals[i]})
	}
	rec.files = slices.Clip(rec.files)
	for _, name := range slices.Sorted(maps.Keys(chunks)) {
		slices.SortFunc(chunks[name], func(a, b recordChunk) int { return cmp.Compare(a.offset, b.offset) })
		rec.files = append(rec.files, recordFile{name: name, chunks: chunks[name]})
	}
	return rec
}
