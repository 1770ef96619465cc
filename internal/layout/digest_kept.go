package layout

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
)

// In a store where each file that is read costs a request, the digest file has copies of
// the small documents. Whoever opens a checkpoint there reads one file instead of many.
// Nothing else depends on the copies: the documents are written all the same.

// keptPrefix begins the line of a copy. sha256sum takes it for a comment.
const keptPrefix = "# contents of "

const (
	maxKept    = 64 << 10  // bytes of a document of which a copy is kept
	maxAllKept = 192 << 10 // bytes of all such documents
)

// Keep records the contents of a document for [Digests.Kept], with its digest, unless it is
// large. The caller does not change data any more.
func (d *Digests) Keep(name string, data []byte) {
	d.Add(name, sha256.Sum256(data))
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(data) <= maxKept {
		if d.kept == nil {
			d.kept = map[string][]byte{}
		}
		d.kept[name] = data
	}
}

// Kept returns the documents of which the digest file has copies, by name. The caller does
// not change them.
func (d *Digests) Kept() map[string][]byte {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.kept)
}

// dropKept forgets the copy of a document whose digest has changed. The caller holds mu.
func (d *Digests) dropKept(name string) {
	if doc, ok := d.kept[name]; ok && sha256.Sum256(doc) != d.sums[name] {
		delete(d.kept, name)
	}
}

// writeKept writes the copies, the smaller documents first, as long as there is room.
func (d *Digests) writeKept(b *bytes.Buffer) {
	names := slices.SortedFunc(maps.Keys(d.kept), func(x, y string) int {
		return cmp.Or(cmp.Compare(len(d.kept[x]), len(d.kept[y])), cmp.Compare(x, y))
	})
	room := maxAllKept
	for _, name := range names {
		if room -= len(d.kept[name]); room < 0 {
			return
		}
		fmt.Fprintf(b, "%s%q: %s\n", keptPrefix, name, base64.StdEncoding.EncodeToString(d.kept[name]))
	}
}

// parseKept parses a line of writeKept. ok is false if the line is another one.
func (d *Digests) parseKept(line string) (ok bool, err error) {
	text, ok := strings.CutPrefix(line, keptPrefix)
	if !ok {
		return false, nil
	}
	bad := fmt.Errorf("%w: %s has a line that is no copy of a document", fault.ErrCorrupt, DigestFile)
	quoted, err := strconv.QuotedPrefix(text)
	if err != nil {
		return true, bad
	}
	name, _ := strconv.Unquote(quoted)
	doc, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text[len(quoted):], ": "))
	if err != nil {
		return true, bad
	}
	if d.kept == nil {
		d.kept = map[string][]byte{}
	}
	d.kept[name] = doc
	return true, nil
}

// checkKept returns an error if a copy differs from the digest of its document.
func (d *Digests) checkKept() error {
	for name, doc := range d.kept {
		if want, ok := d.sums[name]; !ok || sha256.Sum256(doc) != want {
			return fmt.Errorf("%w: %s has a copy of %s with another digest", fault.ErrCorrupt, DigestFile, name)
		}
	}
	return nil
}
