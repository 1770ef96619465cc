package orbax_test

import (
	"testing"

	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/ocdbt"
)

// Packages that do not read databases have the name from package layout.
func TestManifestName(t *testing.T) {
	if layout.ManifestFile != ocdbt.ManifestName {
		t.Errorf("%q and %q", layout.ManifestFile, ocdbt.ManifestName)
	}
}
