package orbax_test

import (
	"errors"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/ocdbt"
)

// Packages that do not read databases have the name from package layout.
func TestManifestName(t *testing.T) {
	if layout.ManifestFile != ocdbt.ManifestName {
		t.Errorf("%q and %q", layout.ManifestFile, ocdbt.ManifestName)
	}
}

// The limits of documents have the names of records of places written down too. Those of
// files of unknown names are higher.
func TestPlacesName(t *testing.T) {
	for _, name := range []string{layout.PlacesFile, layout.PlacesPrefix + "a1"} {
		if _, err := transfer.ReserveDocument("state/"+name, 2<<30); !errors.Is(err, orbax.ErrCorrupt) {
			t.Errorf("%s may have 2 GiB: %v", name, err)
		}
	}
}
