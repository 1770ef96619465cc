package gcs_test

import (
	"strings"
	"testing"

	"github.com/go-orbax/orbax/internal/testenv/python"
	"github.com/go-orbax/orbax/storage/cloud/gcs"
	"github.com/go-orbax/orbax/storage/cloud/internal/interop"
	"github.com/go-orbax/orbax/storage/cloud/internal/servers"
)

// TestPython saves and loads with Go and with the unmodified Orbax.
func TestPython(t *testing.T) {
	interpreter, packages := python.NeedGCS(t)
	endpoint := "http://" + servers.GCS.Shared(t)
	url := emulate(t)
	b, err := gcs.New(nil, strings.TrimPrefix(url, "gs://"), gcs.Options{Endpoint: endpoint})
	if err != nil {
		t.Fatal(err)
	}
	py := interop.Start(t, interpreter, packages, []string{
		"STORAGE_EMULATOR_HOST=" + endpoint, "TENSORSTORE_GCS_HTTP_URL=" + endpoint, "GOOGLE_AUTH_TOKEN_FOR_TESTING=token",
		"GOOGLE_CLOUD_PROJECT=project",
		"GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT=false", // it would call an interface that the server lacks
	})
	interop.Test(t, py, interop.Bucket{URL: url, Bucket: b})
}
