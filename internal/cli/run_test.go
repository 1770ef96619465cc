package cli

import (
	"bytes"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"testing"

	"github.com/go-orbax/orbax"
)

// TestRunsInAProcess runs command lines at the same time in one process, each with its
// own output, and checks that they leave the process unchanged.
func TestRunsInAProcess(t *testing.T) {
	dir := t.TempDir()
	ck := filepath.Join(dir, "ck")
	if err := orbax.Save(t.Context(), ck, map[string]any{"w": []float32{1, 2, 3}}); err != nil {
		t.Fatal(err)
	}
	const percent = 77
	defer debug.SetGCPercent(debug.SetGCPercent(percent))
	var runs sync.WaitGroup
	for _, c := range []struct {
		args   []string
		status int
		out    string
	}{
		{[]string{"ls", ck}, exitOK, "total 1 leaf"},
		{[]string{"cat", ck, "w"}, exitOK, "[1. 2. 3.]"},
		{[]string{"convert", ck, filepath.Join(dir, "a.safetensors")}, exitOK, "1 leaf"},
		{[]string{"convert", ck, filepath.Join(dir, "b")}, exitOK, "1 leaf"},
		{[]string{"ls", filepath.Join(dir, "none")}, exitFailed, "does not exist"},
	} {
		runs.Go(func() {
			var out, errs bytes.Buffer
			status := Run(t.Context(), c.args, Config{Out: &out, Err: &errs})
			if text := out.String() + errs.String(); status != c.status || !strings.Contains(text, c.out) {
				t.Errorf("%q: status %d, %q; want status %d, %q", c.args, status, text, c.status, c.out)
			}
		})
	}
	runs.Wait()
	if got := debug.SetGCPercent(percent); got != percent {
		t.Errorf("the process collects at %d %%, want %d", got, percent)
	}
}
