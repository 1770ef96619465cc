package transfer

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/mem"
)

// requests is a store in memory that says how it likes to be used, and notes the requests.
type requests struct {
	storage.Store
	properties storage.Properties

	mu              sync.Mutex
	reads           []int // bytes of each
	writes          []int
	now, most, ends int // requests at the same time; where the last write ended
	disordered      bool
}

func (s *requests) Properties() storage.Properties { return s.properties }

func (s *requests) begin(list *[]int, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*list = append(*list, n)
	s.now++
	s.most = max(s.most, s.now)
}

func (s *requests) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now--
}

func (s *requests) Open(ctx context.Context, name string) (storage.Reader, error) {
	r, err := s.Store.Open(ctx, name)
	return notedReader{r, s}, err
}

type notedReader struct {
	storage.Reader
	s *requests
}

func (r notedReader) ReadAt(ctx context.Context, p []byte, off int64) error {
	r.s.begin(&r.s.reads, len(p))
	defer r.s.end()
	return r.Reader.ReadAt(ctx, p, off)
}

func (s *requests) Begin(ctx context.Context, dir string, o storage.BeginOptions) (storage.Stage, error) {
	stage, err := s.Store.Begin(ctx, dir, o)
	return notedStage{stage, s}, err
}

type notedStage struct {
	storage.Stage
	s *requests
}

func (s notedStage) Properties() storage.Properties { return s.s.properties }

func (s notedStage) Create(ctx context.Context, name string, size int64) (storage.Writer, error) {
	w, err := s.Stage.Create(ctx, name, size)
	return notedWriter{w, s.s}, err
}

type notedWriter struct {
	storage.Writer
	s *requests
}

func (w notedWriter) WriteAt(ctx context.Context, p []byte, off int64) error {
	w.s.begin(&w.s.writes, len(p))
	defer w.s.end()
	w.s.mu.Lock()
	w.s.disordered = w.s.disordered || int(off) != w.s.ends
	w.s.ends = int(off) + len(p)
	w.s.mu.Unlock()
	return w.Writer.WriteAt(ctx, p, off)
}

// The engine reads and writes as the store says that it likes to be used, whatever that
// is, and what it has written it reads.
func TestSizes(t *testing.T) {
	const mib = 1 << 20
	for name, c := range map[string]struct {
		properties        storage.Properties
		reads, mostReads  int // how many there are, and bytes of the largest
		mostWrites, limit int
	}{
		"nothing said":      {storage.Properties{}, 64, stepBytes, 16 * mib, 0},
		"dear":              {storage.Properties{ReadUnit: 4 * mib, ReadGap: mib, WriteUnit: 2 * mib}, 5, 4 * mib, 4 * mib, 0},
		"one by one":        {storage.Properties{ReadUnit: mib, Concurrency: 1}, 16, mib, 16 * mib, 1},
		"beyond the budget": {storage.Properties{ReadUnit: 1 << 30, WriteUnit: 1 << 30}, 5, 17 * mib, 24 * mib, 0},
		"negative":          {storage.Properties{ReadUnit: -1, ReadGap: -1, WriteUnit: -1, Concurrency: -1}, 64, stepBytes, 16 * mib, 0},
		"in order":          {storage.Properties{WriteUnit: mib, Sequential: true}, 64, stepBytes, 2 * mib, 0},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			c.properties.Rename = true
			s := &requests{Store: mem.New(), properties: c.properties}
			e := &Engine{}
			stage, err := s.Begin(ctx, "d", storage.BeginOptions{})
			if err != nil {
				t.Fatal(err)
			}
			values := [][]byte{noise(10*mib+5, 1), noise(6*mib, 2), noise(100, 3), noise(3000, 4)}
			items := make([]Item, len(values))
			for i, v := range values {
				items[i] = itemOf(fmt.Sprint(i), v, 0)
			}
			extents, err := e.WritePacked(ctx, stage, "f", items)
			if err != nil {
				t.Fatal(err)
			}
			if err := stage.Commit(ctx); err != nil {
				t.Fatal(err)
			}
			reads := make([]Read, len(values))
			got := make([][]byte, len(values))
			for i := range values {
				got[i] = make([]byte, len(values[i]))
				reads[i] = Read{Extent: extents[i], Dst: got[i], Step: func([]byte) {}, Done: func([]byte) error { return nil }}
			}
			s.most = 0
			if err := e.ReadAll(ctx, storage.At(s, "d"), reads); err != nil {
				t.Fatal(err)
			}
			for i := range values {
				if !bytes.Equal(got[i], values[i]) {
					t.Errorf("value %d differs from the one that was written", i)
				}
			}
			if len(s.reads) > c.reads+2 || slices.Max(s.reads) > c.mostReads {
				t.Errorf("%d reads of %v bytes, want about %d of at most %d", len(s.reads), s.reads, c.reads, c.mostReads)
			}
			if largest := slices.Max(s.writes); largest > c.mostWrites {
				t.Errorf("a write of %d bytes, want at most %d: %v", largest, c.mostWrites, s.writes)
			}
			if c.limit > 0 && s.most > c.limit {
				t.Errorf("%d reads at the same time, want at most %d", s.most, c.limit)
			}
			if c.properties.Sequential && s.disordered {
				t.Errorf("the writes are not in the order of the file: %v", s.writes)
			}
		})
	}
}
