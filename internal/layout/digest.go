package layout

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/go-orbax/orbax/internal/fault"
)

// Digests collects the SHA-256 of every document of a checkpoint that has no checksum of
// its own, by its slash-separated name. Orbax ignores the file; `sha256sum -c` checks it.
// The zero value is empty. Several goroutines may call [Digests.Add].
type Digests struct {
	mu   sync.Mutex
	sums map[string][sha256.Size]byte
	// sorted holds the sorted names, for Beginning. It is nil after a change of the
	// names.
	sorted []string
	// The proof that Orbax has rewritten the checkpoint's metadata: the handlers of its
	// checkpointables, and the digest of the whole document in the form that Orbax would
	// write. Older digest files have neither.
	handlers map[string]string
	canon    *[sha256.Size]byte
	empty    map[string]bool   // checkpointables without documents, in older digest files
	kept     map[string][]byte // copies of documents; see Keep
}

// Add records the digest of a document.
func (d *Digests) Add(name string, sum [sha256.Size]byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sums == nil {
		d.sums = map[string][sha256.Size]byte{}
	}
	d.sums[name] = sum
	d.sorted = nil
	d.dropKept(name)
}

// AddAll records the digests of documents that another process has written.
func (d *Digests) AddAll(other *Digests) {
	for name, sum := range other.sums {
		d.Add(name, sum)
	}
}

// selfPrefix begins the last line, which covers all lines before it.
const selfPrefix = "# sha256 of the lines above: "

// Document returns the digest file.
func (d *Digests) Document() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(d.sums)) {
		sum := d.sums[name]
		// This is GNU's escape for names that would break a line.
		mark, quoted := "", name
		if strings.ContainsAny(name, "\\\n\r") {
			mark, quoted = `\`, digestEscape.Replace(name)
		}
		fmt.Fprintf(&b, "%s%s  %s\n", mark, hex.EncodeToString(sum[:]), quoted)
	}
	d.writeProof(&b)
	d.writeKept(&b)
	self := sha256.Sum256(b.Bytes())
	fmt.Fprintf(&b, "%s%s\n", selfPrefix, hex.EncodeToString(self[:]))
	return b.Bytes()
}

var (
	digestEscape   = strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`)
	digestUnescape = strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\r`, "\r")
)

// ParseDigests parses a digest file. If the file was changed, the error matches
// [fault.ErrCorrupt].
func ParseDigests(doc []byte) (*Digests, error) {
	corrupt := fmt.Errorf("%w: %s does not match its own checksum", fault.ErrCorrupt, DigestFile)
	at := bytes.LastIndex(doc, []byte(selfPrefix))
	if at < 0 {
		return nil, corrupt
	}
	lines := doc[:at]
	self := sha256.Sum256(lines)
	if want := selfPrefix + hex.EncodeToString(self[:]) + "\n"; string(doc[at:]) != want {
		return nil, corrupt
	}
	d := &Digests{sums: map[string][sha256.Size]byte{}}
	for line := range bytes.Lines(lines) {
		s := strings.TrimSuffix(string(line), "\n")
		ok, err := d.parseProof(s)
		if !ok && err == nil {
			ok, err = d.parseKept(s)
		}
		if err != nil {
			return nil, err
		}
		if ok {
			continue
		}
		s, escaped := strings.CutPrefix(s, `\`)
		var sum [sha256.Size]byte
		text, name, ok := strings.Cut(s, "  ")
		if _, err := hex.Decode(sum[:], []byte(text[:min(len(text), 2*len(sum))])); !ok || err != nil || len(text) != 2*len(sum) {
			return nil, fmt.Errorf("%w: %s: line %q", fault.ErrCorrupt, DigestFile, s)
		}
		if escaped {
			name = digestUnescape.Replace(name)
		}
		d.sums[name] = sum
	}
	if err := d.checkKept(); err != nil {
		return nil, err
	}
	return d, nil
}

// Check compares a document with its recorded digest. A nil Digests passes, and so does a
// name that was not recorded, because checkpoints of Orbax have no digests.
func (d *Digests) Check(name string, doc []byte) error {
	if !d.Has(name) {
		return nil
	}
	return d.CheckSum(name, sha256.Sum256(doc))
}

// CheckSum is [Digests.Check] for a document whose SHA-256 the caller has.
func (d *Digests) CheckSum(name string, sum [sha256.Size]byte) error {
	if d == nil {
		return nil
	}
	if want, ok := d.sums[name]; ok && want != sum {
		return differs(name)
	}
	return nil
}

func differs(name string) error {
	return fmt.Errorf("%w: %s differs from its digest in %s", fault.ErrCorrupt, name, DigestFile)
}

// Forget drops the digest of a document.
func (d *Digests) Forget(name string) {
	if d != nil {
		delete(d.sums, name)
		delete(d.kept, name)
		d.sorted = nil
	}
}

// ForgetPart drops a checkpointable with the digests of all its documents.
func (d *Digests) ForgetPart(name string) {
	if d == nil {
		return
	}
	maps.DeleteFunc(d.sums, func(file string, _ [sha256.Size]byte) bool { return strings.HasPrefix(file, name+"/") })
	maps.DeleteFunc(d.kept, func(file string, _ []byte) bool { return strings.HasPrefix(file, name+"/") })
	d.sorted = nil
	delete(d.handlers, name)
	delete(d.empty, name)
}

// Has reports whether a document was recorded.
func (d *Digests) Has(name string) bool {
	if d == nil {
		return false
	}
	_, ok := d.sums[name]
	return ok
}

// Names returns the names of the recorded documents, sorted.
func (d *Digests) Names() []string {
	if d == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(d.sums))
}

// Beginning returns the sorted names of the recorded documents that begin with prefix.
// The caller must not change the result. The first call, and the first after a change,
// sorts all names; later calls search in the sorted names. Several goroutines may call
// it.
func (d *Digests) Beginning(prefix string) []string {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sorted == nil {
		d.sorted = slices.Sorted(maps.Keys(d.sums))
	}
	from, _ := slices.BinarySearch(d.sorted, prefix)
	to := from
	for to < len(d.sorted) && strings.HasPrefix(d.sorted[to], prefix) {
		to++
	}
	return d.sorted[from:to:to]
}
