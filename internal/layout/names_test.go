package layout

import (
	"errors"
	"testing"

	"github.com/go-orbax/orbax/internal/fault"
)

// A checkpointable with the name of a session can be read, and is not saved.
func TestCheckNewName(t *testing.T) {
	for _, name := range []string{"a.partial_save", "a.partial_save.pending_12_0a", "metrics"} {
		if err := CheckNewName(name); !errors.Is(err, fault.ErrReservedName) {
			t.Errorf("%q: got %v, want ErrReservedName", name, err)
		}
	}
	if err := errors.Join(CheckNewName("a.partial_saves"), CheckName("a.partial_save")); err != nil {
		t.Error(err)
	}
}

func TestCheckFile(t *testing.T) {
	for _, c := range []struct {
		name          string
		other, inTree bool // whether a handler may use the name
	}{
		{"a", true, true}, {"a/_METADATA", true, true}, {"metadata", true, true}, {"digests.sha", true, true}, {"a.partial_save", true, true},
		{"manifest.0", true, true}, {"go-orbax", true, true}, {"a/commit_success.txt", true, true},
		{"_METADATA", false, true}, {"_METADATA/a", false, true}, {"d/a", false, true}, {"d", false, true}, {"go-orbax.x", false, true}, {"array_metadatas/process_0", false, true},
		{"ocdbt.process_0/d/a", false, true}, {"manifest.ocdbt", false, true}, {"manifest.0123456789abcdef", false, true}, {"commit_success.txt", false, true},
		{"", false, false}, {"/a", false, false}, {"a/../b", false, false}, {"orbax.checkpoint", false, false}, {"a/b/orbax.checkpoint", false, false},
		{"_CHECKPOINT_METADATA", false, false}, {"a/_CHECKPOINT_DELETION/b", false, false}, {"digests.sha256", false, false}, {"a/digests.0f.sha256", false, false},
		{"a/b.orbax-checkpoint-tmp-1", false, false}, {"a.partial_save/b", false, false}, {"a.partial_save.pending_12_0a/b", false, false},
	} {
		for inTree, want := range map[bool]bool{false: c.other, true: c.inTree} {
			if err := CheckFile(c.name, inTree); (err == nil) != want || err != nil && !errors.Is(err, fault.ErrReservedName) {
				t.Errorf("CheckFile(%q, %v): got %v, want ErrReservedName: %v", c.name, inTree, err, !want)
			}
		}
	}
}
