package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/internal/orbaxtest"
	"github.com/go-orbax/orbax/storage"
)

// TestOperations compares the store operations of the verbs that read a checkpoint of two
// leaves with testdata/operations.txt. The test of the same name in package orbax does
// the same for the library. With -update it rewrites the file.
func TestOperations(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the file has the operations on Linux")
	}
	dir := filepath.ToSlash(t.TempDir()) + "/ckpt"
	counter := failstore.NewCounter(storage.Local(), dir)
	orbaxtest.Must(t, orbax.Save(t.Context(), dir, map[string]any{"a": []float32{1, 2, 3}, "b": []int32{4, 5}}))
	var got strings.Builder
	for _, args := range [][]string{{"ls", dir}, {"cat", dir, "a"}, {"verify", dir}} {
		if status := Run(t.Context(), args, Config{Out: io.Discard, Err: io.Discard, Store: counter.Store()}); status != exitOK {
			t.Fatalf("orbax %s: status %d", args[0], status)
		}
		n, text := counter.Take()
		fmt.Fprintf(&got, "%s: %d operations, %d reads\n%s\n", args[0], n.Operations, n.Reads, text)
	}
	golden := filepath.Join("testdata", "operations.txt")
	if *update {
		orbaxtest.Must(t, os.WriteFile(golden, []byte(got.String()), 0o666))
	}
	want, err := os.ReadFile(golden)
	orbaxtest.Must(t, err)
	if got.String() != string(want) {
		t.Errorf("the operations are not those of %s:\n%s", golden, got.String())
		t.Log("if they are meant: go test ./internal/cli -run TestOperations -update")
	}
}
