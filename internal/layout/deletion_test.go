package layout

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-orbax/orbax/internal/fault"
)

// deletions is testdata/deletion.json, which deletion.py beside it makes with the
// real Orbax.
type deletions struct {
	Made []struct{ Metadata, Record, Updated string }
	// Judged are records by what is special about them.
	Judged map[string]struct {
		Record, Metadata string
		OK               bool
	}
}

func readDeletions(t testing.TB) (d deletions) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "deletion.json"))
	if err == nil {
		err = json.Unmarshal(b, &d)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDeletionAsOrbaxWritesIt(t *testing.T) {
	for _, c := range readDeletions(t).Made {
		d, err := NewDeletion([]byte(c.Metadata), "opt")
		if err != nil {
			t.Fatal(err)
		}
		if len(d.id) != 32 {
			t.Errorf("id %q", d.id)
		}
		d.id = "0123456789abcdef0123456789abcdef"
		if got := string(d.Document()); got != c.Record {
			t.Errorf("record\n%s, want\n%s", got, c.Record)
		}
		if got, err := d.Metadata(); string(got) != c.Updated || err != nil {
			t.Errorf("metadata\n%s, %v, want\n%s", got, err, c.Updated)
		}
		for _, metadata := range []string{c.Metadata, c.Updated} {
			again, err := ParseDeletion(d.Document(), []byte(metadata))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := again.Metadata(); string(got) != c.Updated || err != nil || again.Name != "opt" {
				t.Errorf("read again: %s, %v", got, err)
			}
		}
	}
}

func TestParseDeletion(t *testing.T) {
	for name, c := range readDeletions(t).Judged {
		t.Run(name, func(t *testing.T) {
			d, err := ParseDeletion([]byte(c.Record), []byte(c.Metadata))
			switch {
			case !c.OK && (!errors.Is(err, fault.ErrCorrupt) || d != nil):
				t.Errorf("%v, %v", d, err)
			case c.OK && (err != nil || d.Name != "opt" || (d.Destination != "") != (name == "moved")):
				t.Errorf("%+v, %v", d, err)
			case c.OK && name != "more members" && name != "without destination" && string(d.Document()) != c.Record:
				t.Errorf("became %s", d.Document())
			}
		})
	}
}

// Orbax keeps half a surrogate pair, Go cannot: nothing is written that would
// differ.
func TestDeletionOfWhatGoCannotHold(t *testing.T) {
	for doc, ok := range map[string]bool{
		`{"item_handlers": {"a": "x"}, "custom_metadata": {"s": "\ud83d\ude00"}}`:       true,
		`{"item_handlers": {"a": "x"}, "custom_metadata": {"s": "\\ud83d \\\\ud83d"}}`:  true,
		`{"item_handlers": {"a": "x"}, "custom_metadata": {"s": "\ufffd"}}`:             true,
		`{"item_handlers": {"a": "x"}, "custom_metadata": {"s": "\ud83d"}}`:             false,
		`{"item_handlers": {"a": "x"}, "custom_metadata": {"s": "\\\ud83dx"}}`:          false,
		`{"item_handlers": {"a": "x"}, "custom_metadata": {"s": "\ude00\ud83d"}}`:       false,
		`{"item_handlers": {"a": "x"}, "custom_metadata": {"s": "\ud83d\ud83d\ude00"}}`: false,
	} {
		t.Run(doc, func(t *testing.T) {
			if _, err := NewDeletion([]byte(doc), "a"); (err == nil) != ok || !ok && !errors.Is(err, fault.ErrUnsupported) {
				t.Error(err)
			}
		})
	}
	record := strings.ReplaceAll(readDeletions(t).Judged["good"].Record, `"custom_metadata": {}`, `"custom_metadata": {"s": "\udead"}`)
	metadata := strings.ReplaceAll(readDeletions(t).Judged["good"].Metadata, `"custom_metadata": {}`, `"custom_metadata": {"s": "\udead"}`)
	d, err := ParseDeletion([]byte(record), []byte(metadata))
	if err != nil {
		t.Fatal(err) // it can be read, not finished
	}
	if _, err := d.Metadata(); !errors.Is(err, fault.ErrUnsupported) {
		t.Error(err)
	}
}

func TestNewDeletionRefuses(t *testing.T) {
	for doc, want := range map[string]error{
		`{"item_handlers": {"b": "x"}}`: fault.ErrUnsupported,
		`{"item_handlers": "flat"}`:     fault.ErrUnsupported,
		`{}`:                            fault.ErrUnsupported,
		`[]`:                            fault.ErrCorrupt,
		`{`:                             fault.ErrCorrupt,
	} {
		t.Run(doc, func(t *testing.T) {
			if _, err := NewDeletion([]byte(doc), "a"); !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
		})
	}
}

func FuzzParseDeletion(f *testing.F) {
	d := readDeletions(f)
	for _, c := range d.Made {
		f.Add([]byte(c.Record), []byte(c.Metadata))
	}
	for _, c := range d.Judged {
		f.Add([]byte(c.Record), []byte(c.Metadata))
	}
	f.Fuzz(func(t *testing.T, doc, metadata []byte) {
		d, err := ParseDeletion(doc, metadata)
		if err != nil {
			if !errors.Is(err, fault.ErrCorrupt) {
				t.Error(err)
			}
			return
		}
		updated, err := d.Metadata()
		if err != nil {
			return
		}
		for _, m := range [][]byte{metadata, updated} {
			if again, err := ParseDeletion(d.Document(), m); err != nil || string(again.Document()) != string(d.Document()) {
				t.Errorf("%s\nbecame %s, %v", doc, d.Document(), err)
			}
		}
	})
}
