package layout

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax/internal/fault"
)

func digestsOf(docs map[string]string) *Digests {
	var d Digests
	for name, doc := range docs {
		d.Add(name, sha256.Sum256([]byte(doc)))
	}
	return &d
}

var digestDocs = map[string]string{
	"orbax.checkpoint": "", "state/_METADATA": "{}", "a b": "x", "new\nline": "y", `back\slash`: "z",
	"cr\r": "w", `\n`: "literal", "日本": "u", "  spaces  ": "s", "# sha256 of the lines above: ": "self",
}

func TestDigests(t *testing.T) {
	d := digestsOf(digestDocs)
	got, err := ParseDigests(d.Document())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.sums, d.sums) {
		t.Errorf("got %v\nwant %v", got.Names(), d.Names())
	}
	for name, doc := range digestDocs {
		if err := got.Check(name, []byte(doc)); err != nil {
			t.Error(err)
		}
		if err := got.Check(name, []byte(doc+"x")); !errors.Is(err, fault.ErrCorrupt) {
			t.Errorf("%q changed: %v", name, err)
		}
		if !got.Has(name) {
			t.Errorf("no %q", name)
		}
	}
	if err := got.Check("unknown", nil); err != nil || got.Has("unknown") {
		t.Errorf("a name that was not recorded: %v", err)
	}
	got.Forget("a b")
	if got.Has("a b") || len(got.Names()) != len(digestDocs)-1 {
		t.Errorf("after Forget: %q", got.Names())
	}
	var none *Digests
	none.Forget("a")
	none.ForgetPart("a")
	if none.Has("a") || none.Names() != nil || none.Check("a", nil) != nil {
		t.Error("a nil Digests has something")
	}
}

func TestDigestsOfAnyNames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringOf(rapid.SampledFrom([]rune("a\\n\r\n #é/:'\"")))
		d := digestsOf(rapid.MapOf(name, rapid.String()).Draw(t, "docs"))
		got, err := ParseDigests(d.Document())
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.Names(), d.Names()) {
			t.Errorf("got %q, want %q", got.Names(), d.Names())
		}
	})
}

func TestDigestsEveryBit(t *testing.T) {
	doc := digestsOf(digestDocs).Document()
	for bit := range 8 * len(doc) {
		b := bytes.Clone(doc)
		b[bit/8] ^= 1 << (bit % 8)
		if _, err := ParseDigests(b); !errors.Is(err, fault.ErrCorrupt) {
			t.Fatalf("bit %d of byte %d: %v", bit%8, bit/8, err)
		}
	}
	for n := range len(doc) {
		if _, err := ParseDigests(doc[:n]); !errors.Is(err, fault.ErrCorrupt) {
			t.Fatalf("the first %d bytes: %v", n, err)
		}
	}
	for _, add := range []string{"\n", "x", "\x00", string(doc)} {
		if _, err := ParseDigests(append(bytes.Clone(doc), add...)); !errors.Is(err, fault.ErrCorrupt) {
			t.Errorf("with %q behind: %v", add, err)
		}
	}
}

func TestSHA256SumTakesDigests(t *testing.T) {
	tool, err := exec.LookPath("sha256sum")
	if err != nil {
		t.Skip("no sha256sum")
	}
	dir := t.TempDir()
	docs := map[string]string{}
	for name, doc := range digestDocs {
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o777); err != nil {
			t.Fatal(err)
		}
		if os.WriteFile(full, []byte(doc), 0o666) == nil { // not every file system has all names
			docs[name] = doc
		}
	}
	if err := os.WriteFile(filepath.Join(dir, DigestFile), digestsOf(docs).Document(), 0o666); err != nil {
		t.Fatal(err)
	}
	check := func() ([]byte, error) {
		cmd := exec.Command(tool, "-c", "--strict", DigestFile)
		cmd.Dir = dir
		return cmd.CombinedOutput()
	}
	if out, err := check(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(dir, "a b"), []byte("other"), 0o666); err != nil {
		t.Fatal(err)
	}
	if out, err := check(); err == nil {
		t.Errorf("it does not see a change:\n%s", out)
	}
}

func TestParseDigestsRefuses(t *testing.T) {
	sum := func(lines string) []byte {
		s := sha256.Sum256([]byte(lines))
		d := (&Digests{}).Document()
		at := bytes.LastIndex(d, []byte(selfPrefix))
		return append([]byte(lines), append(d[at:at+len(selfPrefix)], []byte(hexOf(s)+"\n")...)...)
	}
	h := hexOf(sha256.Sum256(nil))
	for _, lines := range []string{"x\n", h + "\n", h + " a\n", h[:62] + "  a\n", h + "0  a\n", "z" + h[1:] + "  a\n", "\n", "#\n"} {
		t.Run(lines, func(t *testing.T) {
			if _, err := ParseDigests(sum(lines)); !errors.Is(err, fault.ErrCorrupt) {
				t.Errorf("got %v, want %v", err, fault.ErrCorrupt)
			}
		})
	}
	if _, err := ParseDigests(sum(h + "  a\n")); err != nil {
		t.Error(err)
	}
}

func hexOf(sum [sha256.Size]byte) string {
	const digits = "0123456789abcdef"
	var b []byte
	for _, c := range sum {
		b = append(b, digits[c>>4], digits[c&15])
	}
	return string(b)
}

// Beginning agrees with a search in all names, after each change.
func TestDigestsBeginning(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var d Digests
		name := rapid.StringMatching(`[ab]{0,2}/?[ab.]{0,2}`)
		for range rapid.IntRange(0, 20).Draw(t, "changes") {
			switch n := name.Draw(t, "name"); rapid.IntRange(0, 3).Draw(t, "change") {
			case 0:
				d.Forget(n)
			case 1:
				d.ForgetPart(n)
			default:
				d.Add(n, sha256.Sum256(nil))
			}
			prefix := name.Draw(t, "prefix")
			want := slices.DeleteFunc(d.Names(), func(n string) bool { return !strings.HasPrefix(n, prefix) })
			if got := d.Beginning(prefix); !slices.Equal(got, want) {
				t.Fatalf("%q: got %q, want %q", prefix, got, want)
			}
		}
	})
	if got := (*Digests)(nil).Beginning(""); got != nil {
		t.Error(got)
	}
}

// Asking for each of many directories takes time by its own names alone: a search in all
// of them takes minutes here.
func TestDigestsBeginningOfMany(t *testing.T) {
	var d Digests
	const n = 20000
	for i := range n {
		d.Add(fmt.Sprintf("item%05d/_METADATA", i), [sha256.Size]byte{})
	}
	start := time.Now()
	for i := range n {
		if got := d.Beginning(fmt.Sprintf("item%05d/", i)); len(got) != 1 {
			t.Fatal(got)
		}
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("takes %v", took)
	}
}
