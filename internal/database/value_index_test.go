package database

import (
	"maps"
	"slices"
	"testing"

	"github.com/go-orbax/orbax/ocdbt"
	"pgregory.net/rapid"
)

func TestValueIndex(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.StringMatching(`[abc]{0,4}`)
		stored := map[string]bool{}
		for _, k := range rapid.SliceOfN(key, 0, 60).Draw(t, "stored") {
			stored[k] = true
		}
		var x Index
		for _, k := range slices.Sorted(maps.Keys(stored)) {
			x.Entries = append(x.Entries, ocdbt.Entry{Key: k, Value: ocdbt.Value{Inline: []byte(k)}})
		}
		for _, k := range rapid.SliceOfN(key, 0, 60).Draw(t, "sought") {
			v, ok := x.Find([]byte(k))
			if ok != stored[k] || ok && string(v.Inline) != k {
				t.Fatalf("%q: %q, %v", k, v.Inline, ok)
			}
		}
	})
}
