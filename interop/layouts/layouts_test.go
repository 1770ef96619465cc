package layouts

import (
	"archive/zip"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/internal/testenv/python"
)

// layout is a row of the table: a checkpoint that another program wrote, and
// what is in it. testdata/layouts_lib.py describes the members.
type layout struct {
	Row     string
	Needs   []string // modules of Python that write it
	Open    string
	Names   []string
	Refused *struct {
		Is   string
		Says string
	}
	Items []item
}

// item is a checkpointable. It is a pytree if it has leaves.
type item struct {
	pytree
	JSON  any
	Proto json.RawMessage
}

// TestLayouts opens every layout that is written anywhere with every function
// that reads. The checkpoints are those in testdata/layouts, so that no Python is
// needed; testdata/layouts.py has made them.
func TestLayouts(t *testing.T) {
	testLayouts(t, filepath.Join("testdata", "layouts"))
}

// TestLayoutsFresh is TestLayouts with checkpoints that are written now: those
// that the environment of the other tests can write.
func TestLayoutsFresh(t *testing.T) {
	interpreter := python.Need(t)
	dir := t.TempDir()
	script, err := filepath.Abs(filepath.Join("testdata", "layouts.py"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), interpreter, "-B", script, dir)
	cmd.Dir = t.TempDir()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("layouts.py: %v\n%s", err, out[max(0, len(out)-4000):])
	}
	for _, golden := range layoutFiles(t, filepath.Join("testdata", "layouts")) {
		if !slices.ContainsFunc(parseLayout(t, golden).Needs, isPinned) {
			continue // zarr-python and safetensors are not there
		}
		name := filepath.Base(golden)
		if !bytes.Equal(readFile(t, filepath.Join(dir, name)), readFile(t, golden)) {
			t.Errorf("layouts.py expects other things than the golden file %s; run it again", name)
		}
	}
	testLayouts(t, dir)
}

// isPinned reports whether the Python environment has the package of a module.
func isPinned(module string) bool {
	return strings.HasPrefix(module, "orbax.") || module == "tensorstore"
}

func testLayouts(t *testing.T, dir string) {
	results := &table{}
	t.Cleanup(func() { t.Logf("\n%s", results) })
	for row, file := range layoutFiles(t, dir) {
		l := parseLayout(t, file)
		t.Run(l.Row, func(t *testing.T) {
			t.Parallel()
			archive := filepath.Join(dir, l.Row+".zip")
			path := filepath.Join(unpack(t, archive), filepath.FromSlash(l.Open))
			if l.Refused != nil {
				checkRefused(t, path, l)
				return
			}
			checkNames(t, path, l.Names)
			for _, it := range l.Items {
				t.Run(cmp.Or(it.Name, "default"), func(t *testing.T) {
					switch {
					case it.Proto != nil:
						checkProto(t, path, it)
					case it.Leaves == nil:
						checkJSON(t, path, it)
					default:
						it.sort()
						s := &stored{pytree: it.pytree, path: path, archive: archive, layout: l}
						checkColumns(t, s, row, results)
					}
				})
			}
			if len(l.Names) > 0 {
				t.Run("together", func(t *testing.T) { checkTogether(t, path, l) })
			}
		})
	}
}

// checkColumns reads a pytree in every way. A quick run takes every other way, and the
// other ones in the next row.
func checkColumns(t *testing.T, s *stored, row int, results *table) {
	for i, c := range columns {
		if (i+row)%testenv.Pick(1, 2) != 0 {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Cleanup(func() { results.add(s, c.name, t) })
			c.check(t, s)
		})
	}
}

func layoutFiles(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no layouts in %s: %v", dir, err)
	}
	return files
}

func parseLayout(t *testing.T, file string) *layout {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(readFile(t, file)))
	d.UseNumber()
	d.DisallowUnknownFields()
	var l layout
	if err := d.Decode(&l); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return &l
}

func readFile(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// unpack returns a folder with the contents of an archive.
func unpack(t *testing.T, archive string) string {
	t.Helper()
	r, err := zip.OpenReader(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	dir := t.TempDir()
	if err := os.CopyFS(dir, r); err != nil {
		t.Fatal(err)
	}
	return dir
}

// checkRefused wants an error that a person can act on.
func checkRefused(t *testing.T, path string, l *layout) {
	classes := map[string]error{
		"ErrIncomplete":        orbax.ErrIncomplete,
		"ErrInvalidCheckpoint": orbax.ErrInvalidCheckpoint,
		"ErrStructure":         orbax.ErrStructure,
		"ErrUnsupported":       orbax.ErrUnsupported,
	}
	is, ok := classes[l.Refused.Is]
	if !ok {
		t.Fatalf("unknown class of error %q", l.Refused.Is)
	}
	v, err := orbax.Load(t.Context(), path)
	if !errors.Is(err, is) || !strings.Contains(err.Error(), l.Refused.Says) {
		t.Errorf("Load gives %v and the error %q, want %s that says %q", v, err, l.Refused.Is, l.Refused.Says)
	}
}

// checkNames opens the checkpoint. It compares the names of its checkpointables
// unless want is nil.
func checkNames(t *testing.T, path string, want []string) {
	ck, err := orbax.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	if got := ck.Names(); want != nil && !slices.Equal(got, want) {
		t.Errorf("Names gives %q, want %q", got, want)
	}
}

// refused wants an error of the given class.
func refused(t *testing.T, err, is error) {
	t.Helper()
	if !errors.Is(err, is) {
		t.Errorf("got the error %v, want %q", err, is)
	}
}

func checkJSON(t *testing.T, path string, it item) {
	got, err := orbax.Load(t.Context(), path, orbax.Name(it.Name))
	if err != nil {
		t.Fatal(err)
	}
	equalJSON(t, got, it)
}

// equalJSON compares without what JSON does not tell: the types of numbers.
func equalJSON(t *testing.T, got any, it item) {
	t.Helper()
	if g, w := marshal(t, got), marshal(t, it.JSON); g != w {
		t.Errorf("got %s, want %s", g, w)
	}
}

func marshal(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func checkProto(t *testing.T, path string, it item) {
	var got structpb.Struct
	if _, err := orbax.LoadCheckpointables(t.Context(), path, map[string]any{it.Name: &got}); err != nil {
		t.Fatal(err)
	}
	equalProto(t, &got, it)
}

func equalProto(t *testing.T, got proto.Message, it item) {
	t.Helper()
	var want structpb.Struct
	if err := protojson.Unmarshal(it.Proto, &want); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(got, &want) {
		t.Errorf("got %v, want %v", got, &want)
	}
}

// checkTogether loads all checkpointables at once.
func checkTogether(t *testing.T, path string, l *layout) {
	targets := map[string]any{}
	for _, it := range l.Items {
		targets[l.nameOf(it)] = nil
		if it.Proto != nil {
			targets[it.Name] = &structpb.Struct{}
		}
	}
	got, err := orbax.LoadCheckpointables(t.Context(), path, targets)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(targets) {
		t.Errorf("there are %d checkpointables, want %d", len(got), len(targets))
	}
	for _, it := range l.Items {
		switch v := got[l.nameOf(it)]; {
		case it.Proto != nil:
			equalProto(t, v.(proto.Message), it)
		case it.Leaves == nil:
			equalJSON(t, v, it)
		default:
			diffLeaves(t, leavesOf(t, v), it.Leaves)
		}
	}
}

// nameOf returns the name of a checkpointable, also of the one that a load picks.
func (l *layout) nameOf(it item) string {
	if it.Name == "" && slices.Contains(l.Names, "state") {
		return "state"
	}
	return cmp.Or(it.Name, l.Names[0])
}

// TestLayoutsAreAllThere wants both files of each row.
func TestLayoutsAreAllThere(t *testing.T) {
	rows := map[string]string{}
	entries, err := os.ReadDir(filepath.Join("testdata", "layouts"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		row, kind, _ := strings.Cut(e.Name(), ".")
		rows[row] += kind + " "
	}
	for _, row := range slices.Sorted(maps.Keys(rows)) {
		if rows[row] != "json zip " {
			t.Errorf("%s has %q", row, rows[row])
		}
	}
}
