package proof_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/proof"
)

// What is called as a tree in MessagePack is looked at in bounded time, and is one only
// to the last byte.
func TestMsgpack(t *testing.T) {
	const tree = "\x81\xa1a\x07"
	for name, c := range map[string]struct {
		head string
		size int64
		ok   bool
	}{
		"a tree":               {tree, int64(len(tree)), true},
		"a longer file":        {tree, int64(len(tree)) + 1, false},
		"a shorter file":       {tree, int64(len(tree)) - 1, false},
		"a list of 2^32 zeros": {"\x81\xa1a\xdd\xff\xff\xff\xff", 8 + 1<<32 - 1, false},
		"lists in each other":  {"\x81\xa1a" + strings.Repeat("\xdd\xff\xff\xff\x00", 1<<16), 1 << 33, false},
		"more than there is":   {"\x81\xa1a" + strings.Repeat("\xdc\xff\xff", 1<<20), 1<<20*3 + 1<<17, false},
		"lists without end":    {"\x81\xa1a" + strings.Repeat("\x91", 1<<20), 1<<20 + 4, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "checkpoint")
			must(t, os.WriteFile(file, []byte(c.head), 0o666))
			if err := os.Truncate(file, c.size); err != nil {
				t.Skip(err)
			}
			began := time.Now()
			_, err := look(proof.Checkpoint, dir)
			if c.ok && err != nil || !c.ok && !errors.Is(err, fault.ErrInvalidCheckpoint) {
				t.Error(err)
			}
			if d := time.Since(began); d > 30*time.Second {
				t.Error(d)
			}
		})
	}
}
