package layout

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/go-orbax/orbax/internal/fault"
)

// The digest file gives back the copies that it was given, as far as there is room for them,
// and forgets the copy of a document that changes.
func TestKept(t *testing.T) {
	var d Digests
	d.Add("other", sha256.Sum256(nil))
	d.Keep("a\n\"b", []byte("one\x00"))
	d.Keep("item/doc", nil)
	d.Keep("large", make([]byte, maxKept+1))
	for i := range 5 {
		d.Keep(fmt.Sprint("item/full", i), make([]byte, maxKept))
	}
	doc := d.Document()
	got, err := ParseDigests(doc)
	if err != nil {
		t.Fatal(err)
	}
	kept := got.Kept()
	if len(kept) != 2+(maxAllKept/maxKept)-1 || string(kept["a\n\"b"]) != "one\x00" || kept["item/doc"] == nil || len(kept["item/doc"]) != 0 {
		t.Errorf("there are copies of %d documents", len(kept))
	}
	if !got.Has("large") || !got.Has("other") || !got.Has("item/full4") {
		t.Error("a digest is missing")
	}
	if !bytes.Equal(got.Document(), doc) {
		t.Error("the file changes when it is written again")
	}
	got.Add("a\n\"b", sha256.Sum256([]byte("two")))
	got.ForgetPart("item")
	if left := got.Kept(); len(left) != 0 {
		t.Errorf("copies of changed and removed documents: %q", left)
	}
	if (*Digests)(nil).Kept() != nil {
		t.Error("copies without digests")
	}

	var wrong Digests
	wrong.Keep("doc", []byte("1"))
	for _, change := range [][2]string{{`"doc": MQ==`, `"doc": Mg==`}, {`"doc": MQ==`, `"none": MQ==`}, {`"doc": MQ==`, `"doc": M`}, {`"doc": MQ==`, `doc`}} {
		lines, _, _ := strings.Cut(string(wrong.Document()), selfPrefix)
		lines = strings.Replace(lines, change[0], change[1], 1)
		text := fmt.Sprintf("%s%s%x\n", lines, selfPrefix, sha256.Sum256([]byte(lines)))
		if _, err := ParseDigests([]byte(text)); !errors.Is(err, fault.ErrCorrupt) {
			t.Errorf("%s: %v", change[1], err)
		}
	}
}
