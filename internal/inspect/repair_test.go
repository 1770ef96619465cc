package inspect

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/view"
)

// TestNoSecrets describes errors of a store that has URLs in its errors. No document has
// the credentials of a URL.
func TestNoSecrets(t *testing.T) {
	err := errors.New(`Get "https://key:SECRET@host/a?sig=SECRET": 503`)
	r := DescribeRepair("vault://key:SECRET@host/a", &orbax.RepairReport{Trees: []orbax.TreeRepair{{Damage: err, Obstacle: err}}})
	l, lerr := describeLeaf(&view.LeafMetadata{Err: err})
	if lerr != nil {
		t.Fatal(lerr)
	}
	const want = `Get "https://xxxxx@host/a?sig=xxxxx": 503`
	for _, text := range []string{*r.Trees[0].Damage, *r.Trees[0].Obstacle, *l.Error} {
		if text != want {
			t.Errorf("the message is %q, want %q", text, want)
		}
	}
	if all := fmt.Sprint(*r); strings.Contains(all, "SECRET") {
		t.Errorf("the report has the credentials: %s", all)
	}
}
