package reuse

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/places"
	"github.com/go-orbax/orbax/storage"
)

// drawRecord draws a record of few files whose chunks lie one after the other.
func drawRecord(t *rapid.T) *Record {
	r := &Record{}
	copy(r.Key[:], rapid.SliceOfN(rapid.Byte(), KeySize, KeySize).Draw(t, "key"))
	next := byte(0)
	r.Files = make([]File, rapid.IntRange(0, 5).Draw(t, "files"))
	for i := range r.Files {
		f := &r.Files[i]
		f.Name = fmt.Sprintf("d/%032x", i+1)
		f.Age = rapid.IntRange(0, 12).Draw(t, "age")
		at := int64(0)
		f.Chunks = make([]Chunk, rapid.IntRange(0, 8).Draw(t, "chunks"))
		for j := range f.Chunks {
			n := rapid.Int64Range(1, 1<<rapid.IntRange(1, 40).Draw(t, "bits")).Draw(t, "length")
			id := ID{Encoding: EncodingID{byte(rapid.IntRange(0, 2).Draw(t, "form"))}, Content: Fingerprint{next}}
			f.Chunks[j] = Chunk{id, at, n, places.Seal{next, byte(n)}}
			next++
			at += n
		}
	}
	return r
}

func TestRecord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRecord(t)
		doc := r.Document()
		got, err := Parse(doc)
		if err != nil || !reflect.DeepEqual(got, r) {
			t.Fatalf("%+v\nbecomes %+v, %v", r, got, err)
		}
		doc[rapid.IntRange(0, len(doc)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if _, err := Parse(doc); !errors.Is(err, fault.ErrCorrupt) && !errors.Is(err, fault.ErrUnsupported) {
			t.Errorf("a flipped bit: %v", err)
		}
		if _, err := Parse(doc[:rapid.IntRange(0, len(doc)-1).Draw(t, "length")]); err == nil {
			t.Error("cut off")
		}
	})
}

// summed adds the checksum to a record.
func summed(body string) []byte { return withSum(recordMagic, body) }

func withSum(magic, body string) []byte {
	sum := sha256.Sum256([]byte(magic + body))
	return append([]byte(magic+body), sum[:]...)
}

func TestRecordRefused(t *testing.T) {
	key, name, print := strings.Repeat("k", KeySize), strings.Repeat("a", 32), strings.Repeat("p", 16)
	form := strings.Repeat("f", 32)
	chunk := "\x00" + print + "\x00\x01" + "seal"
	const huge = "\xff\xff\xff\xff\xff\xff\xff\xff\x7f"
	for body, want := range map[string]string{
		"":                   "ends too soon",
		key:                  "a number",
		key + "\x01":         "a number",
		key + huge:           "a number",
		key + "\x00" + huge:  "a number",
		key + "\x00\x00more": "more follows",
		key + "\x00\x01" + strings.Repeat("x", 32) + "\x00\x00":                                       "the name",
		key + "\x00\x01" + name + "\x00" + huge:                                                       "a number",
		key + "\x00\x02" + name + "\x00\x00" + name + "\x00\x00":                                      "a file occurs twice",
		key + "\x00\x01" + name + "\x00\x01" + chunk:                                                  "a form that is not there",
		key + "\x01" + form + "\x01" + name + "\x00\x02" + chunk + chunk:                              "a chunk occurs twice",
		key + "\x01" + form + "\x01" + name + "\x00\x01\x00" + print + huge + huge:                    "a number",
		key + "\x01" + form + "\x01" + name + "\x00\x01\x00" + print + "\xff\x01\x01" + "seal" + "zz": "more follows",
	} {
		if _, err := Parse(summed(body)); !errors.Is(err, fault.ErrCorrupt) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", body, err, want)
		}
	}
}

func FuzzRecord(f *testing.F) {
	r := &Record{Files: []File{
		{Name: "d/" + strings.Repeat("1", 32), Age: 3, Chunks: []Chunk{{Offset: 16, Length: 1 << 23}}},
		{Name: "d/" + strings.Repeat("2", 32)},
	}}
	body := strings.TrimPrefix(string(r.Document()), recordMagic)
	f.Add(body[:len(body)-sha256.Size])
	f.Add(strings.Repeat("\x00", KeySize+2))
	f.Fuzz(func(t *testing.T, body string) {
		Parse([]byte(body))
		r, err := Parse(summed(body))
		if err != nil {
			if !errors.Is(err, fault.ErrCorrupt) {
				t.Error(err)
			}
			return
		}
		again, err := Parse(r.Document())
		if err != nil {
			t.Fatal(err)
		}
		for i, f := range again.Files {
			if want := r.Files[i]; f.Name != want.Name || f.Age != want.Age || !slices.Equal(f.Chunks, want.Chunks) {
				t.Errorf("%+v becomes %+v", want, f)
			}
		}
	})
}

// A save keeps only files that it may share, with chunks that it wants, and the largest
// files first.
func TestChoose(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRecord(t)
		freshEvery := rapid.IntRange(2, 12).Draw(t, "fresh")
		maxDead := rapid.Float64Range(0.01, 1).Draw(t, "dead")
		wanted, sizes := map[ID]bool{}, map[string]int64{}
		type place struct {
			file  string
			chunk Chunk
		}
		places := map[ID]place{}
		for _, f := range r.Files {
			size := int64(0)
			for _, c := range f.Chunks {
				places[c.ID] = place{f.Name, c}
				if rapid.Bool().Draw(t, "wanted") {
					wanted[c.ID] = true
				}
				size += c.Length
			}
			if rapid.IntRange(0, 9).Draw(t, "there") > 0 {
				sizes[f.Name] = size + rapid.Int64Range(0, 3*storage.PageSize).Draw(t, "more")
			}
		}
		last := int64(-1)
		kept := map[string]bool{}
		for _, f := range r.Choose(wanted, sizes, freshEvery, maxDead) {
			size, there := sizes[f.Name]
			live := int64(0)
			for _, c := range f.Chunks {
				if !wanted[c.ID] || (places[c.ID] != place{f.Name, c}) || c.Offset+c.Length > size {
					t.Errorf("%s of %d bytes for %+v", f.Name, size, c)
				}
				live += c.Length
			}
			if !there || live == 0 || kept[f.Name] || f.Age >= freshEvery-1 || float64(size-live-storage.PageSize) > maxDead*float64(size) {
				t.Errorf("%+v, of %d bytes", f, size)
			}
			if last >= 0 && live > last {
				t.Errorf("%d live bytes after %d", live, last)
			}
			last, kept[f.Name] = live, true
		}
		// Every file that is dropped is dropped for a reason.
		for _, f := range r.Files {
			live, want := int64(0), 0
			size, there := sizes[f.Name]
			for _, c := range f.Chunks {
				if wanted[c.ID] {
					live += c.Length
					want++
				}
			}
			if !kept[f.Name] && there && want > 0 && f.Age < freshEvery-1 && float64(size-live-storage.PageSize) <= maxDead*float64(size) {
				t.Errorf("%+v is dropped", f)
			}
		}
	})
}

func TestChooseLargest(t *testing.T) {
	r, wanted, sizes := &Record{}, map[ID]bool{}, map[string]int64{}
	for i := range 2 * maxShared {
		c := Chunk{ID: ID{Content: Fingerprint{byte(i)}}, Length: int64(1+i) << 20}
		f := File{Name: fmt.Sprintf("d/%032x", i), Chunks: []Chunk{c}}
		r.Files = append(r.Files, f)
		wanted[c.ID], sizes[f.Name] = true, c.Length
	}
	files := r.Choose(wanted, sizes, 10, 0.5)
	if last := files[len(files)-1]; len(files) != maxShared || last.Name != r.Files[maxShared].Name {
		t.Errorf("%d files, the last %s", len(files), last.Name)
	}
}
