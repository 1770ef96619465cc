package interop

import (
	"path/filepath"
	"testing"
)

// TestJobPartial saves two parts of a checkpoint with a job. The job or Go finalizes them.
func TestJobPartial(t *testing.T) {
	eachJob(t, func(t *testing.T, n int) {
		for _, by := range []string{"job", "go"} {
			t.Run(by, func(t *testing.T) {
				whole := exampleOfJob(n)
				parts := []*node{dict(), dict()}
				for i, kid := range whole.Kids {
					part := parts[i%2]
					if kid.T == "str" { // Python finalizes only if one part alone has strings
						part = parts[0]
					}
					part.Keys, part.Kids = append(part.Keys, whole.Keys[i]), append(part.Kids, kid)
				}
				path := filepath.Join(t.TempDir(), "checkpoint")
				job := func(op string, req request) {
					t.Helper()
					req["path"] = path
					if _, err := callJob[struct{}](t.Context(), n, op, req); err != nil {
						t.Fatal(err)
					}
				}
				for _, part := range parts {
					job("partial_save", request{"tree": part})
				}
				if by == "job" {
					job("partial_finalize", request{})
				} else {
					finalize(t, by, path)
				}
				checkJobSave(t, path, whole)
				checkJobLoad(t, whole.plain(), jobLoad(t, n, path, nil))
			})
		}
	})
}
