package interop

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/zarr"
)

// flip is one bit of one file of a checkpoint.
type flip struct {
	file string
	bit  int
}

// TestDamage inverts single bits of checkpoints that Go has written. Python may
// refuse what is damaged, or load it as if it were not, but the bits that
// TensorStore reads must never give it another array or number. The documents
// beside them have a checksum only Go checks: there the test reports what
// Python makes of them, and holds Go alone to refusing them.
func TestDamage(t *testing.T) {
	needPython(t)
	// Too large for the database's own nodes, also when compressed.
	r := rand.New(rand.NewPCG(1, 2))
	big := make([]float64, 500)
	for i := range big {
		big[i] = r.NormFloat64()
	}
	state := map[string]any{
		"big":   array.Of(big),
		"small": array.Of([]int16{1, -2, 3}).WithSharding(sharding.SingleDevice("cpu:0")),
		"n":     7,
		"s":     "text",
		"e":     []any{},
	}
	for _, s := range []handler.StorageOptions{
		{},
		{ArrayOptions: handler.ArrayOptions{Compression: zarr.Zstd(3)}},
		{ArrayOptions: handler.ArrayOptions{Compression: zarr.Huffman()}},
		{Zarr2: true, PlainFiles: true},
	} {
		t.Run(storageName(s), func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "checkpoint")
			if err := orbax.Save(t.Context(), path, state, orbax.Storage(s)); err != nil {
				t.Fatal(err)
			}
			want := pyLoad(t, path, nil)
			// The data is all in the database, or else in each leaf's directory.
			data := func(file string) bool {
				return filepath.Base(file) == "manifest.ocdbt" || strings.Count(filepath.ToSlash(file), "/") == 2 &&
					!strings.Contains(file, "array_metadatas")
			}
			var tally damage
			for i, f := range pickFlips(t, path, *flips, data) {
				tally.data(t, path, filepath.Join(dir, fmt.Sprint("data", i)), f, want)
			}
			t.Logf("data: %v", &tally)
			tally = damage{}
			for i, f := range pickFlips(t, path, *flips/3, func(file string) bool { return !data(file) }) {
				tally.document(t, path, filepath.Join(dir, fmt.Sprint("doc", i)), f, want)
			}
			t.Logf("documents: %v", &tally)
		})
	}
}

// storageName tells formats apart, as the names of tests.
func storageName(s handler.StorageOptions) string {
	format, store := "zarr3", "OCDBT"
	if s.Zarr2 {
		format = "zarr2"
	}
	if s.PlainFiles {
		store = "files"
	}
	return fmt.Sprintf("%s,%s,%v", store, format, s.Compression)
}

// pickFlips chooses n bits of the files that take holds for, always the same;
// all bits if n is 0.
func pickFlips(t *testing.T, path string, n int, take func(file string) bool) []flip {
	t.Helper()
	var all []flip
	err := filepath.WalkDir(path, func(file string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(path, file)
		if err != nil || !take(rel) {
			return err
		}
		info, err := e.Info()
		for bit := range 8 * info.Size() {
			all = append(all, flip{rel, int(bit)})
		}
		return err
	})
	if err != nil || len(all) == 0 {
		t.Fatalf("%d bits, %v", len(all), err)
	}
	if n > 0 {
		r := rand.New(rand.NewPCG(3, 4))
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		all = all[:min(n, len(all))]
	}
	return all
}

// damage counts what became of damaged checkpoints.
type damage struct {
	refused, equal int
	other          []string
}

func (d *damage) String() string {
	return fmt.Sprintf("Python refused %d and loaded %d unharmed; differently: %d\n%s",
		d.refused, d.equal, len(d.other), strings.Join(d.other, "\n"))
}

// make copies the checkpoint to a path of its own, with the bit inverted:
// TensorStore may know the files of a path from the load before.
func (f flip) make(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(to, f.file)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b[f.bit/8] ^= 1 << (f.bit % 8)
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// load has Python load a damaged checkpoint and returns the differences.
func (d *damage) load(t *testing.T, path string, want *node) (string, *node) {
	t.Helper()
	var answer struct{ Tree *node }
	if err := call(t.Context(), "load", request{"path": path}, &answer); err != nil {
		if !pyRaises(err) {
			t.Logf("%s: %v", filepath.Base(path), err) // a crash is no wrong number
		}
		d.refused++
		return "", nil
	}
	difference := diff(want, answer.Tree)
	if difference == "" {
		d.equal++
	}
	return difference, answer.Tree
}

// data tries a bit that TensorStore reads.
func (d *damage) data(t *testing.T, from, path string, f flip, want *node) {
	t.Helper()
	f.make(t, from, path)
	defer os.RemoveAll(path)
	if difference, _ := d.load(t, path, want); difference != "" {
		t.Errorf("bit %d of %s makes Python load\n%s", f.bit, f.file, difference)
	}
}

// document tries a bit of another file. Go must load what was saved, or refuse.
func (d *damage) document(t *testing.T, from, path string, f flip, want *node) {
	t.Helper()
	f.make(t, from, path)
	defer os.RemoveAll(path)
	difference, got := d.load(t, path, want)
	if difference != "" {
		d.other = append(d.other, fmt.Sprintf("bit %d of %s: %s", f.bit, f.file, difference))
		if wrong := wrongNumbers(want, got); wrong != "" {
			t.Errorf("bit %d of %s makes Python load %s", f.bit, f.file, wrong)
		}
	}
	v, err := orbax.Load(t.Context(), path)
	if err != nil {
		return
	}
	if difference := diff(want, mustNode(t, v)); difference != "" {
		t.Errorf("bit %d of %s makes Go load\n%s", f.bit, f.file, difference)
	}
}

// wrongNumbers returns the array or number of got that no leaf of want has.
func wrongNumbers(want, got *node) string {
	number := func(n *node) bool { return slices.Contains([]string{"array", "int", "float", "bool", "key"}, n.T) }
	value := func(n *node) string {
		return n.DType + fmt.Sprint(n.Shape) + n.String()[strings.Index(n.String(), " ")+1:]
	}
	wrong := ""
	got.any(func(g *node) bool {
		if number(g) && !want.any(func(w *node) bool { return number(w) && value(w) == value(g) }) {
			wrong = g.String()
		}
		return wrong != ""
	})
	return wrong
}
