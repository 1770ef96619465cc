package orbax_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/mmap"
)

// leafNames returns the leaves that an error names, each once.
func leafNames(e *orbax.Error) (names []string) {
	for _, l := range e.Leaves() {
		names = append(names, l.Path)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Every damaged byte is found: at once by Mapped, and by VerifyMapped after
// MappedUnverified, in the leaf that has it and in no other.
func TestMappedDamage(t *testing.T) {
	path, state := saveMappable(t)
	file, data := largestFile(t, path)
	chunks, one := arrayOf(state, "chunks").Bytes(), arrayOf(state, "one").Bytes()
	meta, err := orbax.Metadata(t.Context(), path, orbax.Select("chunks"))
	must(t, err)
	chunk := 4 * meta.Tree.Leaves[0].ChunkShape[0]
	if len(chunks) <= chunk || len(chunks) >= 2*chunk {
		t.Fatalf("chunks of %d bytes", chunk)
	}
	at := func(elements []byte) int {
		t.Helper()
		i := bytes.Index(data, elements)
		if i < 0 {
			t.Fatal("the file does not have the elements as they are")
		}
		return i
	}
	for what, c := range map[string]struct {
		at   int
		leaf string
	}{
		"the first byte":             {at(one), "one"},
		"the last byte":              {at(one) + len(one) - 1, "one"},
		"a checksum":                 {at(one) + len(one) + 3, "one"},
		"the first chunk":            {at(chunks[:1<<20]) + 5, "chunks"},
		"the checksum of the first":  {at(chunks[1<<20:chunk]) + chunk - 1<<20, "chunks"},
		"the end of the second":      {at(chunks[chunk:]) + len(chunks) - chunk - 1, "chunks"},
		"the padding of the second":  {at(chunks[chunk:]) + len(chunks) - chunk, "chunks"},
		"the checksum of the second": {at(chunks[chunk:]) + chunk + 3, "chunks"},
	} {
		damaged := bytes.Clone(data)
		damaged[c.at] ^= 0x10
		must(t, os.WriteFile(file, damaged, 0o666))
		ck, err := orbax.Open(t.Context(), path)
		must(t, err)
		_, err = ck.Load(t.Context(), orbax.Mapped())
		var e *orbax.Error
		if !errors.As(err, &e) || e.Leaf != c.leaf || !errors.Is(err, orbax.ErrCorrupt) {
			t.Errorf("%s: Mapped: %v", what, err)
		}
		must(t, ck.Close())

		ck, got := loadMapped(t, path, orbax.MappedUnverified())
		for _, err := range []error{ck.VerifyMapped(t.Context()), ck.VerifyMapped(t.Context(), arrayOf(got, c.leaf))} {
			if !errors.As(err, &e) || e.Leaf != c.leaf || !errors.Is(err, orbax.ErrCorrupt) {
				t.Errorf("%s: VerifyMapped: %v", what, err)
			}
		}
		other := arrayOf(got, map[string]string{"one": "chunks", "chunks": "one"}[c.leaf])
		must(t, ck.VerifyMapped(t.Context(), other, arrayOf(got, "small")))
		// A part of an array stands for all of it.
		part := arrayOf(got, c.leaf).Bytes()
		inner, err := array.New(array.Uint8, []int{8}, part[len(part)/2:][:8])
		must(t, err)
		if c.leaf == "one" {
			if err := ck.VerifyMapped(t.Context(), inner); !errors.Is(err, orbax.ErrCorrupt) {
				t.Errorf("%s: VerifyMapped of a part: %v", what, err)
			}
		}
		must(t, ck.Close())
	}
	for _, size := range []int{0, 5000, len(data) / 2, len(data) - 5000} {
		must(t, os.WriteFile(file, data[:size], 0o666))
		want := errorOf(orbax.Load(t.Context(), path))
		ck, err := orbax.Open(t.Context(), path)
		must(t, err)
		for _, o := range []orbax.LoadOption{orbax.Mapped(), orbax.MappedUnverified()} {
			if _, err := ck.Load(t.Context(), o); !errors.Is(err, orbax.ErrCorrupt) || !errors.Is(want, orbax.ErrCorrupt) {
				t.Errorf("truncated to %d bytes: %v; read: %v", size, err, want)
			}
		}
		must(t, ck.Close())
	}
}

// largestFile returns the largest file below dir.
func largestFile(t *testing.T, dir string) (name string, data []byte) {
	t.Helper()
	for file, b := range readFiles(t, dir) {
		if len(b) > len(data) {
			name, data = filepath.Join(dir, file), b
		}
	}
	return name, data
}

// Close waits for loads and verifications, which end soon, and a load either fails
// or was complete before.
func TestMappedCloseDuringLoads(t *testing.T) {
	path, want := saveMappable(t)
	for range 20 {
		ck, first := loadMapped(t, path, orbax.MappedUnverified())
		var wg sync.WaitGroup
		var started sync.WaitGroup
		for i := range 4 {
			started.Add(1)
			wg.Go(func() {
				started.Done()
				for {
					var err error
					if i%2 == 0 {
						_, err = ck.Load(context.Background(), orbax.Mapped())
					} else {
						err = ck.VerifyMapped(context.Background())
					}
					if errors.Is(err, fs.ErrClosed) {
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		started.Wait()
		if !same(first, want) {
			t.Error("the memory differs")
		}
		must(t, ck.Close())
		wg.Wait()
	}
}

// A load that is given up, or fails, leaves nothing behind.
func TestMappedFails(t *testing.T) {
	path, state := saveMappable(t)
	ck, _ := loadMapped(t, path, orbax.MappedUnverified())
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := ck.VerifyMapped(canceled); !errors.Is(err, context.Canceled) {
		t.Errorf("VerifyMapped: %v", err)
	}
	free := mmap.Free()
	if _, err := ck.Load(canceled, orbax.Mapped()); !errors.Is(err, context.Canceled) {
		t.Errorf("Load: %v", err)
	}
	file, data := largestFile(t, path)
	for _, leaf := range []string{"one", "bools"} { // which are read
		damaged := bytes.Clone(data)
		damaged[bytes.Index(data, arrayOf(state, leaf).Bytes())] ^= 1
		must(t, os.WriteFile(file, damaged, 0o666))
		if _, err := ck.Load(t.Context(), orbax.Mapped()); !errors.Is(err, orbax.ErrCorrupt) {
			t.Errorf("Load with damage in %s: %v", leaf, err)
		}
	}
	if now := mmap.Free(); now != free {
		t.Errorf("%d mappings are left", free-now)
	}
}
