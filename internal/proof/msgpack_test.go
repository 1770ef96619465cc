package proof_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/proof"
	"github.com/go-orbax/orbax/storage"
)

// countedStore counts the bytes that are read.
type countedStore struct {
	storage.Store
	read atomic.Int64
}

func (s *countedStore) Open(ctx context.Context, name string) (storage.Reader, error) {
	r, err := s.Store.Open(ctx, name)
	return countedReader{r, s}, err
}

type countedReader struct {
	storage.Reader
	store *countedStore
}

func (r countedReader) ReadAt(ctx context.Context, p []byte, off int64) error {
	r.store.read.Add(int64(len(p)))
	return r.Reader.ReadAt(ctx, p, off)
}

// What is called as a tree in MessagePack is looked at as far as a limit of values, of
// which each is read once, and is a tree only to the last byte.
func TestMsgpack(t *testing.T) {
	const tree = "\x81\xa1a\x07"
	for name, c := range map[string]struct {
		head string
		size int64
		ok   bool
	}{
		"a tree":               {tree, int64(len(tree)), true},
		"a longer file":        {tree, int64(len(tree)) + 1, false},
		"a shorter file":       {tree, int64(len(tree)) - 1, false},
		"a list of 2^32 zeros": {"\x81\xa1a\xdd\xff\xff\xff\xff", 8 + 1<<32 - 1, false},
		"lists in each other":  {"\x81\xa1a" + strings.Repeat("\xdd\xff\xff\xff\x00", 1<<16), 1 << 33, false},
		"more than there is":   {"\x81\xa1a" + strings.Repeat("\xdc\xff\xff", 1<<20), 1<<20*3 + 1<<17, false},
		"lists without end":    {"\x81\xa1a" + strings.Repeat("\x91", 1<<20), 1<<20 + 4, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "checkpoint")
			must(t, os.WriteFile(file, []byte(c.head), 0o666))
			if err := os.Truncate(file, c.size); err != nil {
				t.Skip(err)
			}
			store := &countedStore{Store: storage.Local()}
			_, err := proof.Checkpoint(store)(t.Context(), filepath.ToSlash(dir))
			if c.ok && err != nil || !c.ok && !errors.Is(err, fault.ErrInvalidCheckpoint) {
				t.Error(err)
			}
			if n := store.read.Load(); n > 128<<20 {
				t.Errorf("%d bytes were read", n)
			}
		})
	}
}
