package database

import (
	"context"
	"fmt"
	"iter"
	"sync"

	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/parallel"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/ocdbt"
	"github.com/go-orbax/orbax/storage"
)

// Broken holds, by name, the data files of a database that lack some of its values. The
// names and the sizes that the files need come from the index.
type Broken map[string]BrokenFile

// BrokenFile is a data file that lacks some of its values.
type BrokenFile struct {
	name       string
	size, Need int64 // Need is the end of its last value
	err        error // the reason if the file cannot be read at all; nil if its first size bytes can be read
}

// Check returns the reason why the value at the place at cannot be read, or nil.
func (b Broken) Check(at ocdbt.Ref) error {
	f, broken := b[at.File]
	if !broken {
		return nil
	}
	return f.Check(at.Offset + at.Length)
}

// Check returns the reason why the bytes before end cannot be read, or nil.
func (f BrokenFile) Check(end int64) error {
	if f.err == nil && end > f.size {
		return fmt.Errorf("%w: %s has %d bytes, %d are needed", fault.ErrCorrupt, f.name, f.size, end)
	}
	return f.err
}

// filesAtOnce is the number of data files that are looked at together.
const filesAtOnce = 16

// FindBroken looks once at each data file that holds some of values. where returns the
// directory of a file and its name there, and p are the properties of its store. FindBroken fails only with the error of ctx.
func FindBroken(ctx context.Context, p storage.Properties, values iter.Seq[ocdbt.Value], where func(file string) (*ckdir.ReadDir, string, error)) (Broken, error) {
	var group parallel.Group
	group.SetLimit(transfer.AtOnce(p, filesAtOnce))
	var mu sync.Mutex
	var broken Broken
	for file, need := range endsOf(values) {
		group.Go(func() error {
			f := BrokenFile{name: file, Need: need}
			if dir, name, err := where(file); err != nil {
				f.err = err
			} else {
				f.look(ctx, dir, name)
			}
			if f.Check(need) != nil {
				mu.Lock()
				defer mu.Unlock()
				if broken == nil {
					broken = Broken{}
				}
				broken[file] = f
			}
			return ctx.Err()
		})
	}
	err := group.Wait()
	return broken, err
}

// endsOf returns the end of the last value in each file that holds values.
func endsOf(values iter.Seq[ocdbt.Value]) map[string]int64 {
	ends := map[string]int64{}
	var file string // of the values before: the values of one file mostly follow each other
	var end int64
	note := func() {
		if file != "" {
			ends[file] = max(ends[file], end)
		}
	}
	for v := range values {
		if v.IsInline() {
			continue
		}
		if v.Ref.File != file {
			note()
			file, end = v.Ref.File, 0
		}
		end = max(end, v.Ref.Offset+v.Ref.Length)
	}
	note()
	return ends
}

// look finds out the size of the file, which is called name in dir.
func (f *BrokenFile) look(ctx context.Context, dir *ckdir.ReadDir, name string) {
	info, err := dir.Stat(ctx, name)
	switch {
	case ckdir.NotExist(err):
		f.err = fmt.Errorf("%w: missing file %s", fault.ErrCorrupt, f.name)
	case err != nil:
		f.err = err
	case info.Dir:
		f.err = fmt.Errorf("%w: %s is a directory", fault.ErrCorrupt, f.name)
	default:
		if f.size = info.Size; f.size < f.Need {
			f.err = transfer.CheckLFS(ctx, dir.At(), name)
		}
	}
}
