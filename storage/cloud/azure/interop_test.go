package azure_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/testenv/python"
	"github.com/go-orbax/orbax/storage/cloud/internal/interop"
	"github.com/go-orbax/orbax/storage/cloud/internal/servers"
)

// TensorStore, which has no driver for Azure, reads over http what is saved in a public
// container, in each layout.
func TestTensorStore(t *testing.T) {
	interpreter := python.Need(t)
	service, client := newContainer(t, &container.CreateOptions{Access: to.Ptr(container.PublicAccessTypeBlob)})
	setenv(t, map[string]string{"AZURE_STORAGE_ACCOUNT": servers.AzureAccount, "AZURE_STORAGE_KEY": servers.AzureKey, "AZURE_STORAGE_SERVICE_ENDPOINT": service})
	want := map[string]*array.Array{"params.w": orderedArray(3000, 1000), "params.b": orderedArray(7)}
	state := map[string]any{"params": map[string]any{"w": want["params.w"], "b": want["params.b"]}}
	script, err := filepath.Abs(filepath.Join("testdata", "http.py"))
	if err != nil {
		t.Fatal(err)
	}
	for layout, options := range interop.Layouts {
		t.Run(layout, func(t *testing.T) {
			path := "go/" + strings.ReplaceAll(layout, " ", "_")
			if err := orbax.Save(t.Context(), "azblob://"+nameOf(client)+"/"+path, state, orbax.Storage(options)); err != nil {
				t.Fatal(err)
			}
			zarr := "3"
			if options.Zarr2 {
				zarr = "2"
			}
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			names := []string{"params.w", "params.b"}
			args := []string{"-B", script, client.URL() + "/" + path + "/state/", zarr, fmt.Sprint(!options.PlainFiles)}
			cmd := exec.CommandContext(ctx, interpreter, append(args, names...)...)
			cmd.Dir = t.TempDir() // nothing that Python does may end up in the source tree
			var stderr strings.Builder
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, stderr.String())
			}
			answers := json.NewDecoder(strings.NewReader(string(out)))
			for _, name := range names {
				var got struct {
					DType, Sum string
					Shape      []int
					Corner     bool
				}
				if err := answers.Decode(&got); err != nil {
					t.Fatal(err)
				}
				a := want[name]
				if got.DType != "float32" || !slices.Equal(got.Shape, a.Shape()) || got.Sum != fmt.Sprintf("%x", sha256.Sum256(a.Bytes())) || !got.Corner {
					t.Errorf("%s: TensorStore has read %+v", name, got)
				}
			}
		})
	}
}

// orderedArray returns an array of the numbers from 0 on.
func orderedArray(shape ...int) *array.Array {
	n := 1
	for _, d := range shape {
		n *= d
	}
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(i)
	}
	return array.Of(values, shape...)
}
