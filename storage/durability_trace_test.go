package storage_test

import (
	"context"
	"errors"
	"fmt"
	"path"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/storage"
)

// sample is a small tree of every kind of leaf: a value of several pages, one
// inside the tree of the database, a scalar, a string. Its contents differ by
// version, its layout does not.
func sample(version int) map[string]any {
	w := make([]float32, 3000)
	for i := range w {
		w[i] = float32(version*1000 + i)
	}
	return map[string]any{
		"params": map[string]any{"w": w, "b": []int32{int32(version), 2, 3}},
		"step":   version,
		"name":   fmt.Sprintf("version %d", version),
	}
}

// versionAt loads the checkpoint at dir, compares all of it with sample, and
// returns its version; 0 if there is nothing.
func versionAt(dir string) (int, error) {
	state, err := orbax.Load(context.Background(), dir)
	if errors.Is(err, orbax.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	type target struct {
		Params struct {
			W []float32 `orbax:"w"`
			B []int32   `orbax:"b"`
		} `orbax:"params"`
		Step int    `orbax:"step"`
		Name string `orbax:"name"`
	}
	version, _ := state.(map[string]any)["step"].(int)
	got, err := orbax.LoadAs[target](context.Background(), dir)
	if err != nil {
		return 0, err
	}
	want := sample(version)["params"].(map[string]any)
	if !slices.Equal(got.Params.W, want["w"].([]float32)) || !slices.Equal(got.Params.B, want["b"].([]int32)) ||
		got.Step != version || got.Name != fmt.Sprintf("version %d", version) {
		return 0, fmt.Errorf("mixture of versions: %+v", got)
	}
	return version, nil
}

// The traces show the order of everything that a save does to the disk.
func TestTrace(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the traces are those of Linux")
	}
	for _, tc := range []struct {
		name       string
		old        bool // a checkpoint is there
		noExchange bool
		fail       string // the file whose creation fails
	}{
		{name: "fresh"},
		{name: "overwrite", old: true},
		{name: "overwrite-fallback", old: true, noExchange: true},
		{name: "abort", fail: "commit_success.txt"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			if tc.old {
				must(t, orbax.Save(t.Context(), "run/step", sample(1)))
			}
			r := &storage.Recorder{NoExchange: tc.noExchange}
			r.Before = func(op storage.Op) error {
				if op.Kind == "create" && path.Base(op.Name) == tc.fail {
					return errors.New("injected")
				}
				return nil
			}
			err := orbax.Save(t.Context(), "run/step", sample(2), orbax.Overwrite(), orbax.In(r.Store()))
			if (err != nil) != (tc.fail != "") {
				t.Fatal(err)
			}
			compareGolden(t, tc.name+".trace", storage.FormatOps(r.Ops()))
			if tc.fail == "" {
				if err := checkOrder(r.Ops(), "run/step"); err != nil {
					t.Error(err)
				}
			}
			want := []string{"step"}
			if tc.fail != "" {
				want = nil
			}
			if got := names(t, "run"); !slices.Equal(got, want) {
				t.Errorf("left %q, want %q", got, want)
			}
		})
	}
}

// The trace of files whose size is announced, and of buffers written together.
func TestTraceBuffers(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the traces are those of Linux")
	}
	t.Chdir(t.TempDir())
	r := &storage.Recorder{}
	s, err := r.Store().Begin(t.Context(), "step", storage.BeginOptions{})
	must(t, err)
	body, tail := pages(1<<20, 0), pages(storage.PageSize, 0)
	create := func(name string, size int64) storage.Writer {
		w, err := s.Create(t.Context(), name, size)
		must(t, err)
		return w
	}
	exact := create("d/exact", int64(len(body)+len(tail)))
	must(t, storage.WriteBuffers(t.Context(), exact, 0, body, tail))
	must(t, exact.Close())
	bound := create("d/bound", 8<<20)
	must(t, storage.WriteBuffers(t.Context(), bound, 0, body, tail))
	must(t, bound.WriteAt(t.Context(), tail, int64(len(body)+len(tail))))
	must(t, bound.Close())
	small := create("x/small", 1)
	must(t, small.WriteAt(t.Context(), []byte("a"), 0))
	must(t, small.Close())
	must(t, s.Commit(t.Context()))
	compareGolden(t, "buffers.trace", storage.FormatOps(r.Ops()))
	if err := checkOrder(r.Ops(), "step"); err != nil {
		t.Error(err)
	}
}

// checkOrder checks that a save is durable. Before the rename every file is synced after
// its last write, and every directory after its last new entry. After the rename the
// parent is synced, and only then anything is removed.
func checkOrder(ops []storage.Op, target string) error {
	dirty := map[string]bool{}
	published := false
	for i, op := range ops {
		if op.Err != nil {
			continue
		}
		dir := path.Dir(op.Name)
		switch op.Kind {
		case "mkdir", "create":
			dirty[op.Name] = true
			dirty[dir] = true
			if published {
				return fmt.Errorf("op %d: %s %s after the commit", i, op.Kind, op.Name)
			}
		case "link":
			dirty[path.Dir(op.To)] = true
		case "write", "allocate", "truncate":
			dirty[op.Name] = true
			if published {
				return fmt.Errorf("op %d: %s of %s after the commit", i, op.Kind, op.Name)
			}
		case "sync", "syncdir":
			delete(dirty, op.Name)
		case "rename", "exchange":
			if strings.HasSuffix(op.To, "-old") {
				continue // the fallback moves the old checkpoint away first
			}
			for name := range dirty {
				if name != dir {
					return fmt.Errorf("op %d: %s before %s is synced", i, op.Kind, name)
				}
			}
			if op.To != target {
				return fmt.Errorf("op %d: %s to %s", i, op.Kind, op.To)
			}
			published = true
			dirty[dir] = true
		case "remove":
			if dirty[dir] {
				return fmt.Errorf("op %d: %s removed before %s is synced", i, op.Name, dir)
			}
		}
	}
	if !published || len(dirty) > 0 {
		return fmt.Errorf("at the end: published %v, not synced %v", published, dirty)
	}
	return nil
}
