package orbax_test

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
	_ "github.com/go-orbax/orbax/internal/testenv/fewchecks"
	"github.com/go-orbax/orbax/partial"
	"github.com/go-orbax/orbax/training"
)

// genuine are directories that Orbax or this package wrote, by what they are.
var genuine = sync.OnceValue(func() map[string]files {
	ctx := context.Background()
	all := map[string]files{}
	dir, err := os.MkdirTemp("", "orbax-genuine-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	n := manyFiles(5)
	save := func(name string, err error) {
		if err != nil {
			panic(err)
		}
		all[name] = files{}
		top := filepath.Join(dir, name)
		err = filepath.WalkDir(top, func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			rel, _ := filepath.Rel(top, file)
			all[name][filepath.ToSlash(rel)], err = os.ReadFile(file)
			return err
		})
		if err != nil {
			panic(err)
		}
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	state := map[string]any{"a": map[string]any{"b": []float32{1, 2, 3}}, "s": "text"}
	save("v1", orbax.Save(ctx, in("v1"), state, orbax.CustomMetadata(map[string]any{"x": 1})))
	save("parts", orbax.SaveCheckpointables(ctx, in("parts"), map[string]any{
		"state": state, "config": handler.JSON{Value: map[string]any{"lr": 1}}, "many": &n}))
	save("plain", orbax.Save(ctx, in("plain"), state, orbax.Storage(handler.StorageOptions{PlainFiles: true})))
	save("part.partial_save", partial.Save(ctx, in("part"), state))
	for _, layout := range []string{"v0_standard", "v0_files_zarr2", "v1_composite", "v0_old_flat", "v1_files_zarr3", "bare_zarr2_folder", "bare_ocdbt_zarr3"} {
		all[layout] = files{}
		z, err := zip.OpenReader("interop/layouts/testdata/layouts/" + layout + ".zip")
		if err != nil {
			panic(err)
		}
		for _, f := range z.File {
			_, name, _ := strings.Cut(f.Name, "/")
			if name == "" || strings.HasSuffix(name, "/") {
				continue
			}
			r, err := f.Open()
			if err != nil {
				panic(err)
			}
			if all[layout][name], err = io.ReadAll(r); err != nil {
				panic(err)
			}
		}
		z.Close()
	}
	return all
})

// made is a directory of which it is known what others than Orbax and this package
// have put there.
type made struct {
	t       *rapid.T
	top     string
	foreign map[string]bool // names or contents that occur once each
	n       int
}

// mine returns a text that occurs nowhere else.
func (m *made) mine() string {
	m.n++
	s := fmt.Sprintf("foreign-%d", m.n)
	m.foreign[s] = true
	return s
}

func (m *made) check(err error) {
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *made) write(name, data string) {
	m.check(os.MkdirAll(filepath.Dir(name), 0o777))
	m.check(os.WriteFile(name, []byte(data), 0o666))
}

// add writes a file of others, unless there is one.
func (m *made) add(name, text string) {
	if _, err := os.Lstat(name); err != nil {
		m.write(name, text+m.mine())
	}
}

// put writes a directory, and returns those in it.
func (m *made) put(dir string, f files) []string {
	dirs := []string{dir}
	m.check(os.MkdirAll(dir, 0o777))
	for _, name := range f.names() {
		m.write(filepath.Join(dir, name), string(f[name]))
		for up := path.Dir(name); up != "."; up = path.Dir(up) {
			if d := filepath.Join(dir, up); !slices.Contains(dirs, d) {
				dirs = append(dirs, d)
			}
		}
	}
	return dirs
}

// documents are names that mean something to Orbax or to this package.
var documents = []string{"_METADATA", "_CHECKPOINT_METADATA", "_sharding", "_strings.json", "digests.sha256", "commit_success.txt",
	"orbax.checkpoint", "manifest.ocdbt", "checkpoint", "metadata", "data.json", ".zarray", "zarr.json", "_CHECKPOINT_DELETION", "go-orbax.chunks", "d", "state"}

var others = []string{"notes.txt", "2018.csv", "model.safetensors", ".hidden", "README.md", "a b", "._real", ".nfsx", "x.orbax-checkpoint-tmp", "0.orbax"}

// directory makes a directory and says what it is.
func (m *made) directory(dir string) string {
	t := m.t
	kind := rapid.SampledFrom([]string{"user's", "user's", "empty", "run", "genuine", "genuine", "genuine", "genuine", "left", "session"}).Draw(t, "kind")
	dirs := []string{dir}
	trees := false // whose documents cannot be told from damage
	switch kind {
	case "user's":
		m.check(os.MkdirAll(dir, 0o777))
		for range rapid.IntRange(1, 4).Draw(t, "documents") {
			name := rapid.SampledFrom(append(documents, others...)).Draw(t, "name")
			text := rapid.SampledFrom([]string{"Column units: ", "{} ", "{\"title\": 1} ", "tree_metadata ", "\x81\xa1 "}).Draw(t, "text")
			m.add(filepath.Join(dir, name), text)
		}
	case "empty":
		m.check(os.MkdirAll(dir, 0o777))
	case "run":
		for i := range 2 {
			dirs = append(dirs, m.put(filepath.Join(dir, fmt.Sprint(i)), m.mark("v1"))...)
		}
	case "session":
		dirs = m.put(dir, genuine()["part.partial_save"])
	default:
		of := rapid.SampledFrom(slices.Sorted(func(yield func(string) bool) {
			for name := range genuine() {
				// Under the name of an unfinished save a store of arrays is what a save has begun.
				bare := strings.HasPrefix(name, "bare") && strings.Contains(dir, ".orbax-checkpoint-tmp")
				if name != "part.partial_save" && !bare && !yield(name) {
					return
				}
			}
		})).Draw(t, "of")
		trees = strings.HasPrefix(of, "v0") || of == "v1_composite" || of == "v1_files_zarr3"
		f := genuine()[of]
		if strings.HasPrefix(of, "bare") { // which neither has written as a checkpoint
			f = m.mark(of)
		} else if kind == "left" || rapid.Bool().Draw(t, "damaged") {
			for range rapid.IntRange(0, 2).Draw(t, "damages") {
				name := rapid.SampledFrom(f.names()).Draw(t, "file")
				if of == "parts" && name == "digests.sha256" {
					continue // which alone has the files of a handler of one's own
				}
				data := f[name]
				switch rapid.IntRange(0, 2).Draw(t, "damage") {
				case 0:
					f = f.with(name, nil)
				case 1:
					f = f.with(name, data[:len(data)/2])
				default:
					f = f.with(name, append([]byte("?"), data...))
				}
			}
		}
		if dirs = m.put(dir, f); rapid.Bool().Draw(t, "litter") {
			m.write(filepath.Join(dir, ".DS_Store"), "x")
			m.write(filepath.Join(dir, "._state"), "\x00\x05\x16\x07x")
		}
		kind += " " + of
	}
	if kind == "empty" {
		return kind
	}
	for range rapid.SampledFrom([]int{0, 0, 1, 1, 2}).Draw(t, "strangers") {
		m.stranger(rapid.SampledFrom(dirs).Draw(t, "where"), trees || strings.HasPrefix(kind, "left") || kind == "session")
	}
	return kind
}

// mark returns the files of a genuine directory that must not be lost.
func (m *made) mark(of string) files {
	f := genuine()[of]
	for name := range f {
		f = f.with(name, append(slices.Clone(f[name]), m.mine()...))
	}
	return f
}

// stranger puts something that is of others into a directory.
func (m *made) stranger(dir string, trees bool) {
	names := others
	if !trees {
		names = append(slices.Clone(others), documents...)
	}
	name := filepath.Join(dir, rapid.SampledFrom(names).Draw(m.t, "stranger"))
	if _, err := os.Lstat(name); err == nil {
		return
	}
	switch rapid.IntRange(0, 5).Draw(m.t, "what") {
	case 0, 1:
		m.add(name, "text ")
	case 2:
		m.add(filepath.Join(dir, "sub", filepath.Base(name)), "text ")
	case 3:
		m.put(filepath.Join(dir, m.mine()), genuine()["v1"]) // a nested checkpoint
	case 4:
		m.check(os.Symlink(filepath.Join(m.top, "outside"), filepath.Join(dir, m.mine())))
	default:
		m.add(filepath.Join(dir, ".ipynb_checkpoints", "a-checkpoint.ipynb"), "text ")
	}
}

// lost returns what of others is not there any more.
func (m *made) lost() []string {
	var all strings.Builder
	m.check(filepath.WalkDir(m.top, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fmt.Fprintln(&all, d.Name())
		if d.Type().IsRegular() {
			data, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			fmt.Fprintf(&all, "%s\n", data)
		}
		return nil
	}))
	has := map[string]bool{}
	for _, word := range strings.FieldsFunc(all.String(), func(r rune) bool { return !strings.ContainsRune("foreign-0123456789", r) }) {
		if at := strings.Index(word, "foreign-"); at >= 0 {
			has[word[at:]] = true
		}
	}
	var lost []string
	for s := range m.foreign {
		if !has[s] {
			lost = append(lost, s)
		}
	}
	return lost
}

// Whatever is in a directory, nothing that removes or replaces checkpoints destroys
// what neither Orbax nor this package has written, there or where links lead.
func TestNothingOfOthersIsDestroyed(t *testing.T) {
	genuine()
	done, refused := map[string]int{}, map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		top, err := os.MkdirTemp(shm(), "orbax-destroy-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(top)
		m := &made{t: t, top: top, foreign: map[string]bool{}}
		m.write(filepath.Join(top, "outside", "file"), m.mine())
		ck := filepath.Join(top, "run", "1")
		const mark = ".orbax-checkpoint-tmp"
		op := rapid.SampledFrom([]string{"overwrite", "delete", "part", "temporary", "abort", "save beside", "train"}).Draw(t, "op")
		dir := ck
		switch op {
		case "temporary", "save beside":
			dir = ck + mark + rapid.SampledFrom([]string{"-00000000000000aa", "", "-0000000000aa-old", "-1700000000", "x"}).Draw(t, "name")
		case "abort":
			dir = ck + ".partial_save"
		}
		kind := m.directory(dir)
		before := len(m.foreign)
		state := map[string]any{"a": 1}
		switch op {
		case "overwrite":
			err = orbax.Save(ctx, ck, state, orbax.Overwrite())
		case "delete", "temporary":
			err = orbax.Delete(ctx, dir)
		case "part":
			err = orbax.Delete(ctx, ck, orbax.Name("state"))
		case "abort":
			err = partial.Abort(ctx, ck)
		case "save beside":
			err = orbax.Save(ctx, ck, state)
		case "train":
			m.directory(ck + mark)
			m.directory(filepath.Join(top, "run", "2"+mark+"-00000000000000aa"))
			before = len(m.foreign)
			err = train(ctx, filepath.Join(top, "run"), state)
		}
		if lost := m.lost(); len(lost) > 0 {
			t.Fatalf("%s of %q: %v: %d of %d things of others are lost: %q", op, kind, err, len(lost), before, lost)
		}
		if err == nil {
			done[op+" "+kind]++
		} else {
			refused[op+" "+kind]++
			if errors.Is(err, orbax.ErrInPlace) {
				t.Errorf("%s of %q is refused too late: %v", op, kind, err)
			}
		}
	})
	t.Logf("done %v\nrefused %v", done, refused)
	if longTests && (len(done) < 5 || len(refused) < 5) { // each way and kind by itself may be refused always
		t.Errorf("only %d ways did something, and %d were refused", len(done), len(refused))
	}
}

// train saves steps of a run of which only the last stays.
func train(ctx context.Context, root string, state any) error {
	c, err := training.New(ctx, root, training.Options{Preservation: training.LatestN{N: 1}, CleanTemporary: true})
	if err != nil {
		return err
	}
	for step := 10; step < 12; step++ {
		if _, err := c.Save(ctx, step, state); err != nil {
			return errors.Join(err, c.Close())
		}
	}
	return c.Close()
}

// shm returns a directory in memory where the system has one.
func shm() string {
	if _, err := os.Stat("/dev/shm"); err == nil {
		return "/dev/shm"
	}
	return ""
}
