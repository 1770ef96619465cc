package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/zarr"
)

// task is an operation that has been prepared. The clock measures work; check verifies
// the result afterwards. check also keeps the memory of the operation alive while work is
// measured.
type task struct {
	work  func(*sample) error
	check func(*sample) error
}

// operations are the operations that this program does itself.
var operations = map[string]func(job, context.Context) (task, error){
	opSave:     job.prepareSave,
	opAsync:    job.prepareAsync,
	opLoad:     job.prepareLoad,
	opInto:     job.prepareInto,
	opMap:      job.prepareMap,
	opCodec:    job.prepareCodec,
	opDisk:     job.prepareDisk,
	opDiskRead: job.prepareDiskRead,
	opCopy:     job.prepareCopy,
	opFresh:    job.prepareFresh,
}

// compressions maps values of job.How to compressions.
var compressions = map[string]zarr.Compression{
	"":         {},
	howHuffman: zarr.Huffman(),
	howZstd:    zarr.Zstd(1),
	howAuto:    zarr.Auto(),
}

// saveOptions returns the options that job.How names.
func (j job) saveOptions() []orbax.SaveOption {
	var s handler.StorageOptions
	s.Compression = compressions[j.How]
	if j.How == howBFloat16 {
		s.DType = array.BFloat16
	}
	options := []orbax.SaveOption{orbax.Storage(s)}
	switch j.How {
	case howImmutable:
		options = append(options, orbax.Immutable())
	case howReuse:
		options = append(options, orbax.ReuseSnapshot(&orbax.SnapshotMemory{}))
	}
	return options
}

// warmUp does everything once that is slower the first time, in Python above all.
func (j job) warmUp(ctx context.Context) error {
	path := filepath.Join(j.Scratch, "warm-up")
	state := map[string]*array.Array{"a": array.Of(make([]float32, 4096), 64, 64)}
	err := orbax.Save(ctx, path, state)
	if err == nil {
		err = orbax.LoadInto(ctx, path, &state)
	}
	return errors.Join(err, os.RemoveAll(path))
}

// filled returns the state with its values.
func (j job) filled() (map[string]*array.Array, error) {
	state, err := j.Case.newState()
	if err != nil {
		return nil, err
	}
	return state, j.Case.fill(j.Data, state)
}

// keep returns a check for an operation that has none.
func keep(memory any) func(*sample) error {
	return func(*sample) error {
		runtime.KeepAlive(memory)
		return nil
	}
}

func (j job) prepareSave(ctx context.Context) (task, error) {
	if j.Size > 0 {
		return j.prepareTogether(ctx)
	}
	state, err := j.filled()
	return task{
		work:  func(*sample) error { return orbax.Save(ctx, j.Path, state, j.saveOptions()...) },
		check: keep(state),
	}, err
}

// prepareAsync saves the state in the background, waits, and saves it again.
func (j job) prepareAsync(ctx context.Context) (task, error) {
	state, err := j.filled()
	options := j.saveOptions()
	return task{
		work: func(s *sample) error {
			for i, blocked := range []*float64{&s.Seconds, &s.Again} {
				start := time.Now()
				r, err := orbax.SaveAsync(ctx, fmt.Sprint(j.Path, i), state, options...)
				if err != nil {
					return err
				}
				*blocked = time.Since(start).Seconds()
				if err := r.Result(ctx); err != nil {
					return err
				}
			}
			return nil
		},
		check: keep(state),
	}, err
}

func (j job) prepareLoad(ctx context.Context) (task, error) {
	var loaded any
	return task{
		work: func(s *sample) (err error) {
			s.Beyond = -j.Case.total()
			loaded, err = orbax.Load(ctx, j.Path)
			return err
		},
		check: func(*sample) error {
			dict, _ := loaded.(map[string]any)
			return j.Case.verify(j.Data, func(leaf string) *array.Array { a, _ := dict[leaf].(*array.Array); return a })
		},
	}, nil
}

func (j job) prepareInto(ctx context.Context) (task, error) {
	state, err := j.Case.owned()
	return task{
		work: func(*sample) error { return orbax.LoadInto(ctx, j.Path, &state) },
		check: func(*sample) error {
			return j.Case.verify(j.Data, func(leaf string) *array.Array { return state[leaf] })
		},
	}, err
}

// prepareMap loads views of the files, and then touches every page of them.
func (j job) prepareMap(ctx context.Context) (task, error) {
	option := orbax.MappedUnverified()
	if j.How == howVerify {
		option = orbax.Mapped()
	}
	state := make(map[string]*array.Array, j.Case.Arrays)
	for i := range j.Case.Arrays {
		state[leafName(i)] = nil
	}
	var ck *orbax.Checkpoint
	return task{
		work: func(s *sample) (err error) {
			start := time.Now()
			s.Beyond = -j.Case.total() // at the end all of it is in memory
			if ck, err = orbax.Open(ctx, j.Path); err != nil {
				return err
			}
			if err = ck.LoadInto(ctx, &state, option); err != nil {
				return err
			}
			s.Seconds = time.Since(start).Seconds()
			var sum atomic.Int64
			err = j.eachLeaf(func(leaf string) {
				n := 0
				for b := state[leaf].Bytes(); len(b) > 0; b = b[min(len(b), os.Getpagesize()):] {
					n += int(b[0])
				}
				sum.Add(int64(n)) // so that the compiler keeps the reads
			})
			s.Again = time.Since(start).Seconds()
			return err
		},
		check: func(*sample) error {
			err := j.Case.verify(j.Data, func(leaf string) *array.Array { return state[leaf] })
			return errors.Join(err, ck.Close())
		},
	}, nil
}

// prepareCodec encodes and decodes chunks in memory, on one goroutine.
func (j job) prepareCodec(context.Context) (task, error) {
	data, err := os.ReadFile(j.Data)
	if err != nil {
		return task{}, err
	}
	chunk := min(4<<20, len(data))
	data = data[:min(len(data), 64<<20)/chunk*chunk]
	m, err := zarr.New(zarr.Options{
		Format: 3, Shape: []int{chunk / j.Case.dtype().Size()}, DType: j.Case.dtype(), Compression: compressions[j.How],
	})
	if err != nil {
		return task{}, err
	}
	var encoded [][]byte
	for range len(data) / chunk {
		b := make([]byte, m.EncodedBound())
		clear(b)
		encoded = append(encoded, b[:0])
	}
	decoded := make([]byte, chunk)
	return task{work: func(s *sample) error {
		start := time.Now()
		for i := range encoded {
			if encoded[i], err = m.AppendChunk(encoded[i], data[i*chunk:][:chunk]); err != nil {
				return err
			}
			s.Stored += int64(len(encoded[i]))
		}
		s.Seconds = time.Since(start).Seconds()
		for _, enc := range encoded {
			if err := m.DecodeChunk([]int{0}, decoded, enc); err != nil {
				return err
			}
		}
		s.Again = time.Since(start).Seconds() - s.Seconds
		s.Moved = int64(len(data))
		return nil
	}}, nil
}
