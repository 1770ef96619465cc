package s3_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/testenv/python"
	"github.com/go-orbax/orbax/storage/cloud/internal/servers"
)

// TensorStore's driver of S3 reads the arrays of a checkpoint.
func TestTensorStore(t *testing.T) {
	interpreter := python.Need(t)
	url := environment(t)
	if err := orbax.Save(t.Context(), url+"/run/1", newState(7)); err != nil {
		t.Fatal(err)
	}
	script, err := filepath.Abs(filepath.Join("testdata", "s3.py"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, interpreter, "-B", script, "http://"+servers.S3.Shared(t), strings.TrimPrefix(url, "s3://"), "run/1/state")
	cmd.Dir = t.TempDir() // nothing that Python does may end up in the source tree
	cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+servers.S3Key, "AWS_SECRET_ACCESS_KEY="+servers.S3Secret)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	if got := strings.TrimSpace(string(out)); got != "equal" {
		t.Errorf("TensorStore says %q, want that the array is equal", got)
	}
}
