package orbax_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/storage"
)

// TestOperations holds which operations of a store a checkpoint of two leaves takes against
// testdata/operations.txt, so that one more is seen where it comes from. On an object store
// each is a request. With -update it rewrites the file.
func TestOperations(t *testing.T) {
	ctx := t.Context()
	dir := filepath.ToSlash(t.TempDir()) + "/ckpt"
	counter := failstore.NewCounter(storage.Local(), dir)
	in := orbax.In(counter.Store())
	state := map[string]any{"a": []float32{1, 2, 3}, "b": []int32{4, 5}}
	target := map[string]any{"a": make([]float32, 3), "b": make([]int32, 2)}
	var got strings.Builder
	for _, c := range []struct {
		name string
		most int // operations, whatever the file says; 0 is no limit
		do   func() error
	}{
		{"Save", 0, func() error { return orbax.Save(ctx, dir, state, in) }},
		{"Load", 9, func() error { _, err := orbax.Load(ctx, dir, in); return err }},
		{"LoadInto", 9, func() error { return orbax.LoadInto(ctx, dir, &target, in) }},
		{"Metadata", 8, func() error { _, err := orbax.Metadata(ctx, dir, in); return err }},
		{"IsCheckpoint", 0, func() error { _, err := orbax.IsCheckpoint(ctx, dir, in); return err }},
		{"Verify", 0, func() error { return orbax.Verify(ctx, dir, in) }},
		{"Save over it", 0, func() error { return orbax.Save(ctx, dir, state, in, orbax.Overwrite()) }},
		{"Delete", 0, func() error { return orbax.Delete(ctx, dir, in) }},
	} {
		if err := c.do(); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		n, text := counter.Take()
		if c.most > 0 && n.Operations > c.most {
			t.Errorf("%s takes %d operations, want at most %d:\n%s", c.name, n.Operations, c.most, text)
		}
		fmt.Fprintf(&got, "%s: %d operations, %d reads, %d writes\n%s\n", c.name, n.Operations, n.Reads, n.Writes, text)
	}
	if runtime.GOOS != "linux" {
		return // a disk that cannot exchange directories has other operations
	}
	golden := filepath.Join("testdata", "operations.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("the operations are not those of %s:\n%s", golden, got.String())
		t.Log("if they are meant: go test . -run TestOperations -update")
	}
}
