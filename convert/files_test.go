package convert_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/convert"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/heap"
	"github.com/go-orbax/orbax/internal/orbaxtest"
)

// blob is a checkpointable of a kind that the package does not know: a file of that many
// bytes.
type blob int

type blobHandler struct{}

// blobFile has the name of a document, which may have 64 MiB where it is one.
const blobFile = "parts/zarr.json"

func (blobHandler) Type() string       { return "example.Blob" }
func (blobHandler) CanSave(v any) bool { _, ok := v.(blob); return ok }
func (blobHandler) CanLoad(any) bool   { return false }

func (blobHandler) Save(_ context.Context, v any, _ handler.SaveOptions) (handler.WriteFunc, error) {
	return func(ctx context.Context, dir *handler.WriteDir) error {
		w, err := dir.Create(ctx, blobFile)
		if err != nil {
			return err
		}
		piece := make([]byte, 1<<20)
		for i := range int(v.(blob)) / len(piece) {
			piece[i] = byte(i)
			if _, err := w.Write(piece); err != nil {
				return err
			}
		}
		return w.Close()
	}, nil
}

func (blobHandler) Load(context.Context, *handler.ReadDir, any, handler.LoadOptions) (any, error) {
	return nil, errors.ErrUnsupported
}

func (blobHandler) Metadata(context.Context, *handler.ReadDir) (any, error) { return nil, nil }

// TestCopiesLargeFiles copies a file that is larger than a document may be, with little
// memory, and checks the digests on both sides.
func TestCopiesLargeFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	const size = 65 << 20
	var registry handler.Registry
	registry.Add(blobHandler{})
	orbaxtest.Must(t, orbax.SaveCheckpointables(t.Context(), "ck", map[string]any{"x": blob(size)}, orbax.Handlers(&registry)))
	want := sumOf(t, filepath.Join("ck", "x", blobFile))
	copyTo := func(dst string) (err error) {
		most := heap.Peak(func() { _, err = convert.Copy(t.Context(), "ck", dst, convert.Options{}) })
		if most > 32<<20 {
			t.Errorf("%s: %d MiB of memory for a file of %d MiB", dst, most>>20, size>>20)
		}
		return err
	}

	orbaxtest.Must(t, copyTo("copy"))
	if sumOf(t, filepath.Join("copy", "x", blobFile)) != want {
		t.Error("the copy differs")
	}
	orbaxtest.Must(t, orbax.Verify(t.Context(), "copy"))
	flip(t, filepath.Join("copy", "x", blobFile))
	if err := orbax.Verify(t.Context(), "copy"); !errors.Is(err, orbax.ErrCorrupt) {
		t.Errorf("a damaged copy: %v, want ErrCorrupt", err)
	}

	flip(t, filepath.Join("ck", "x", blobFile))
	if err := copyTo("damaged"); !errors.Is(err, orbax.ErrCorrupt) {
		t.Errorf("a damaged source: %v, want ErrCorrupt", err)
	}
	if _, err := os.Stat("damaged"); err == nil {
		t.Error("a copy was made of a damaged source")
	}
	orbaxtest.Must(t, os.Remove("ck/digests.sha256")) // as Orbax saves it
	orbaxtest.Must(t, copyTo("foreign"))
	orbaxtest.Must(t, orbax.Verify(t.Context(), "foreign"))
}

// sumOf returns the SHA-256 of a file.
func sumOf(t *testing.T, name string) [sha256.Size]byte {
	t.Helper()
	f, err := os.Open(name)
	orbaxtest.Must(t, err)
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	orbaxtest.Must(t, err)
	return [sha256.Size]byte(h.Sum(nil))
}

// flip changes a bit in the middle of a file.
func flip(t *testing.T, name string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	orbaxtest.Must(t, err)
	defer f.Close()
	info, err := f.Stat()
	orbaxtest.Must(t, err)
	var b [1]byte
	_, err = f.ReadAt(b[:], info.Size()/2)
	orbaxtest.Must(t, err)
	b[0] ^= 1
	_, err = f.WriteAt(b[:], info.Size()/2)
	orbaxtest.Must(t, err)
}
