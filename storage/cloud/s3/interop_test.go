package s3_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/testenv/python"
	"github.com/go-orbax/orbax/storage/cloud/internal/interop"
	"github.com/go-orbax/orbax/storage/cloud/internal/servers"
	"github.com/go-orbax/orbax/storage/cloud/s3"
)

// TestPython saves and loads with Go and with an Orbax that testdata/patch.py lets use
// s3:// paths.
func TestPython(t *testing.T) {
	interpreter, packages := python.NeedS3(t)
	url := environment(t)
	py := interop.Start(t, interpreter, packages, []string{"AWS_REGION=us-east-1", "AWS_DEFAULT_REGION=us-east-1"},
		filepath.Join("testdata", "patch.py"))
	b := s3.New(client(servers.S3.Shared(t)), strings.TrimPrefix(url, "s3://"))
	interop.Test(t, py, interop.Bucket{URL: url, Bucket: b})
}

// TensorStore's driver of S3 reads the arrays of a checkpoint of each layout.
func TestTensorStore(t *testing.T) {
	interpreter := python.Need(t)
	url := environment(t)
	script, err := filepath.Abs(filepath.Join("testdata", "s3.py"))
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"-B", script, "http://" + servers.S3.Shared(t), strings.TrimPrefix(url, "s3://")}
	names := slices.Sorted(maps.Keys(interop.Layouts))
	for i, name := range names {
		layout, path := interop.Layouts[name], fmt.Sprintf("run/%d", i)
		if err := orbax.Save(t.Context(), url+"/"+path, newState(7), orbax.Storage(layout)); err != nil {
			t.Fatal(err)
		}
		zarr := "3"
		if layout.Zarr2 {
			zarr = "2"
		}
		args = append(args, path+"/state", zarr, fmt.Sprint(!layout.PlainFiles))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, interpreter, args...)
	cmd.Dir = t.TempDir() // nothing that Python does may end up in the source tree
	cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+servers.S3Key, "AWS_SECRET_ACCESS_KEY="+servers.S3Secret)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	got := strings.Fields(string(out))
	if len(got) != len(names) {
		t.Fatalf("TensorStore says %q about %d layouts", got, len(names))
	}
	for i, name := range names {
		if got[i] != "equal" {
			t.Errorf("%s: TensorStore says %q, want that the array is equal", name, got[i])
		}
	}
}
