package database

import (
	"context"
	"fmt"
	"iter"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/ocdbt"
)

// Broken are those data files of a database that do not have all of its values, by
// their names. The index has the names, and the least sizes.
type Broken map[string]BrokenFile

// BrokenFile is a data file that does not have all of its values.
type BrokenFile struct {
	name       string
	size, Need int64 // need is where the last of the values ends
	err        error // why nothing of the file can be read; nil if it has its first size bytes
}

// Check returns why a value cannot be read, or nil.
func (b Broken) Check(at ocdbt.Ref) error {
	f, broken := b[at.File]
	if !broken {
		return nil
	}
	return f.Check(at.Offset + at.Length)
}

// Check returns why the bytes before end cannot be read, or nil.
func (f BrokenFile) Check(end int64) error {
	if f.err == nil && end > f.size {
		return fmt.Errorf("%w: %s has %d bytes, %d are needed", fault.ErrCorrupt, f.name, f.size, end)
	}
	return f.err
}

// filesAtOnce is how many data files are looked at together.
const filesAtOnce = 16

// FindBroken looks at the data files that values lie in, once at each. where returns the
// directory of a file, and its name there. An error is that of ctx.
func FindBroken(ctx context.Context, values iter.Seq[ocdbt.Value], where func(file string) (*ckdir.ReadDir, string, error)) (Broken, error) {
	var group errgroup.Group
	group.SetLimit(filesAtOnce)
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

// endsOf returns for each file that values lie in where the last of them ends.
func endsOf(values iter.Seq[ocdbt.Value]) map[string]int64 {
	ends := map[string]int64{}
	var file string // of the values before: mostly those of one file follow each other
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

// look asks for the size of the file, which is called name in dir.
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
			f.err = transfer.CheckLFS(ctx, dir.Store(), dir.Path(), name)
		}
	}
}
