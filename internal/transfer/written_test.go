package transfer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// Written is called once for each item, after its bytes were handed to the store,
// and can fail the plan.
func TestWritten(t *testing.T) {
	boom := errors.New("boom")
	aligned := pageBuffer(2 * PageValue)[:2*PageValue]
	for _, files := range []bool{false, true} {
		for _, bad := range []int{-1, 0, 2, 3} {
			s, _ := stage(t)
			counted := &countingStage{Stage: s}
			var calls [4]atomic.Int32
			items := []Item{itemOf("0", noise(10, 1), 0), itemOf("1", noise(5000, 2), 0), itemOf("2", noise(diskUnit, 3), 0), {
				Leaf: "3", Bound: len(aligned), Body: aligned, Tail: func(dst []byte) []byte { return dst },
			}}
			for i := range items {
				items[i].Written = func() error {
					if calls[i].Add(1); counted.bytes() < items[i].Bound {
						t.Errorf("item %d is told of after %d bytes", i, counted.bytes())
					}
					if i == bad {
						return boom
					}
					return nil
				}
			}
			var err error
			if files {
				err = new(Engine).WriteFiles(t.Context(), counted, []string{"0", "1", "2", "3"}, items)
			} else {
				_, err = new(Engine).WritePacked(t.Context(), counted, "f", items)
			}
			if bad >= 0 {
				var leaf *fault.Leaf
				if !errors.Is(err, boom) || !errors.As(err, &leaf) || leaf.Path != fmt.Sprint(bad) {
					t.Errorf("item %d: %v", bad, err)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			for i := range calls {
				if n := calls[i].Load(); n != 1 {
					t.Errorf("item %d: %d calls", i, n)
				}
			}
		}
	}
}

// countingStage counts the bytes that its files have got.
type countingStage struct {
	storage.Stage
	mu sync.Mutex
	n  int
}

func (s *countingStage) bytes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

func (s *countingStage) Create(ctx context.Context, name string, size int64) (storage.Writer, error) {
	w, err := s.Stage.Create(ctx, name, size)
	return &countingWriter{w, s}, err
}

type countingWriter struct {
	storage.Writer
	stage *countingStage
}

func (w *countingWriter) WriteAt(ctx context.Context, p []byte, off int64) error {
	err := w.Writer.WriteAt(ctx, p, off)
	w.stage.mu.Lock()
	defer w.stage.mu.Unlock()
	w.stage.n += len(p)
	return err
}
