package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/go-orbax/orbax/array"
)

// The load on the disk: directBlock bytes at a time, directFlight of them at once. Larger
// numbers made no disk faster that was tried.
const (
	directBlock  = 8 << 20
	directFlight = 4
)

// prepareDisk writes as many bytes as the state has, from aligned memory past the page
// cache, and flushes them. A durable save cannot take less time.
func (j job) prepareDisk(context.Context) (task, error) {
	source, err := alignedMemory(directFlight * directBlock)
	if err != nil {
		return task{}, err
	}
	f, err := os.Open(j.Data)
	if err != nil {
		return task{}, err
	}
	defer f.Close()
	n, err := f.Read(source)
	if n == 0 {
		return task{}, err
	}
	for ; n < len(source); n *= 2 {
		copy(source[n:], source[:n])
	}
	return task{work: func(*sample) error { return j.writeDirect(source) }, check: keep(source)}, nil
}

func (j job) writeDirect(source []byte) error {
	total := j.Case.total()
	f, err := createDirect(j.Path, total)
	if err != nil {
		return err
	}
	defer f.Close()
	const page = 4096
	var next atomic.Int64
	err = inFlight(func(i int) error {
		block := source[i*directBlock:][:directBlock]
		for {
			offset := next.Add(directBlock) - directBlock
			if offset >= total {
				return nil
			}
			// The last write may go beyond the size, to the end of a page.
			n := min(directBlock, (total-offset+page-1)/page*page)
			if _, err := f.WriteAt(block[:n], offset); err != nil {
				return err
			}
		}
	})
	if err != nil {
		return err
	}
	if err := f.Truncate(total); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}

// prepareDiskRead reads the files of the checkpoint past the page cache.
func (j job) prepareDiskRead(context.Context) (task, error) {
	memory, err := alignedMemory(directFlight * directBlock)
	return task{
		work: func(s *sample) error {
			return filepath.WalkDir(j.Path, func(name string, e fs.DirEntry, err error) error {
				if err != nil || e.IsDir() {
					return err
				}
				n, err := readDirect(name, memory)
				s.Moved += n
				return err
			})
		},
		check: keep(memory),
	}, err
}

func readDirect(name string, memory []byte) (int64, error) {
	f, err := openDirect(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	var next atomic.Int64
	return info.Size(), inFlight(func(i int) error {
		for {
			offset := next.Add(directBlock) - directBlock
			if offset >= info.Size() {
				return nil
			}
			if _, err := f.ReadAt(memory[i*directBlock:][:directBlock], offset); err != nil && offset+directBlock <= info.Size() {
				return err
			}
		}
	})
}

// inFlight runs do in directFlight goroutines at the same time.
func inFlight(do func(i int) error) error {
	errs := make(chan error, directFlight)
	for i := range directFlight {
		go func() { errs <- do(i) }()
	}
	var err error
	for range directFlight {
		err = errors.Join(err, <-errs)
	}
	return err
}

// prepareCopy copies the state into memory that is already in use, on all cores.
func (j job) prepareCopy(context.Context) (task, error) {
	src, err := j.filled()
	if err != nil {
		return task{}, err
	}
	dst, err := j.Case.owned()
	return task{
		work: func(*sample) error {
			return j.eachLeaf(func(leaf string) { copy(dst[leaf].Bytes(), src[leaf].Bytes()) })
		},
		check: keep([]any{src, dst}),
	}, err
}

// prepareFresh copies the state into memory that is new to the program.
func (j job) prepareFresh(context.Context) (task, error) {
	src, err := j.filled()
	if err != nil {
		return task{}, err
	}
	var dst map[string]*array.Array
	return task{
		work: func(s *sample) error {
			s.Beyond = -j.Case.total()
			if dst, err = j.Case.newState(); err != nil {
				return err
			}
			return j.eachLeaf(func(leaf string) { copy(dst[leaf].Bytes(), src[leaf].Bytes()) })
		},
		check: func(*sample) error {
			return errors.Join(keep(src)(nil), j.Case.verify(j.Data, func(leaf string) *array.Array { return dst[leaf] }))
		},
	}, nil
}

func (j job) eachLeaf(use func(leaf string)) error {
	return inParallel(j.Case.Arrays, func() func(i int) error {
		return func(i int) error { use(leafName(i)); return nil }
	})
}
