package training

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/storage"
)

// saveStep writes a checkpoint of one small array to root as name.
func saveStep(t *testing.T, root, name string, options ...orbax.SaveOption) {
	t.Helper()
	state := map[string]any{"w": []float32{1, 2, 3}}
	if err := orbax.Save(t.Context(), filepath.Join(root, name), state, options...); err != nil {
		t.Fatal(err)
	}
}

// damage changes a byte of a document of a checkpoint.
func damage(t *testing.T, path ...string) {
	t.Helper()
	file := filepath.Join(path...)
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	doc[len(doc)/2] ^= 1
	if err := os.WriteFile(file, doc, 0o644); err != nil {
		t.Fatal(err)
	}
}

func checkLatest(t *testing.T, root string, o ReadOptions, want string) Step {
	t.Helper()
	ck, err := Latest(t.Context(), root, o)
	if err != nil {
		t.Fatal(err)
	}
	if ck.Path != filepath.Join(root, want) || ck.Err != nil || ck.Time.IsZero() {
		t.Fatalf("latest is %+v, want %s", ck, want)
	}
	return ck
}

func TestLatest(t *testing.T) {
	root := filepath.Join(t.TempDir(), "run")
	if _, err := Latest(t.Context(), root, ReadOptions{}); !errors.Is(err, orbax.ErrNotExist) {
		t.Errorf("no root: %v", err)
	}
	saveStep(t, root, "2")
	saveStep(t, root, "10")
	for _, other := range []string{"12", "metadata", "11" + storage.TempMarker, "007"} {
		if err := os.Mkdir(filepath.Join(root, other), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "13"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if ck := checkLatest(t, root, ReadOptions{}, "10"); ck.Step != 10 || time.Since(ck.Time) > time.Hour {
		t.Errorf("latest is %+v", ck)
	}

	damage(t, root, "10", "_CHECKPOINT_METADATA")
	checkLatest(t, root, ReadOptions{}, "2")
	damage(t, root, "2", "state", "_METADATA")
	_, err := Latest(t.Context(), root, ReadOptions{})
	checkMentions(t, err, root, "of the newest, 10")
	if !errors.Is(err, orbax.ErrCorrupt) || errors.Is(err, orbax.ErrNotExist) {
		t.Errorf("damaged alone: %v", err)
	}

	file := filepath.Join(root, "13")
	if _, err := Latest(t.Context(), file, ReadOptions{}); err == nil {
		t.Error("a root that is a file has a step")
	}
	if _, err := Latest(t.Context(), t.TempDir(), ReadOptions{}); !errors.Is(err, orbax.ErrNotExist) {
		t.Errorf("empty root: %v", err)
	}
}

func TestLatestOfSeveralNames(t *testing.T) {
	root := t.TempDir()
	padded := StandardNameFormat{Length: 4}
	saveStep(t, root, "7")
	saveStep(t, root, "0007")
	saveStep(t, root, "6")
	checkLatest(t, root, ReadOptions{}, "7")
	checkLatest(t, root, ReadOptions{StepNameFormat: padded}, "0007")
	both := ReadOptions{StepNameFormat: CompositeNameFormat{padded, []NameFormat{StandardNameFormat{}}}}
	checkLatest(t, root, both, "0007")
	damage(t, root, "0007", "_CHECKPOINT_METADATA")
	checkLatest(t, root, both, "7")
}

func TestReadOptionsThatAreWrong(t *testing.T) {
	for _, c := range []struct {
		root string
		o    ReadOptions
		want string
	}{
		{"run", ReadOptions{Interval: -1}, "Interval is -1ns"},
		{"run", ReadOptions{StepNameFormat: StandardNameFormat{Length: -1}}, "Length is -1"},
		{"nowhere://run", ReadOptions{}, "nowhere"},
		{"", ReadOptions{}, "empty path"},
	} {
		_, err := Latest(t.Context(), c.root, c.o)
		checkMentions(t, err, c.want)
		told := 0
		for _, err := range Watch(t.Context(), c.root, c.o) {
			checkMentions(t, err, c.want)
			told++
		}
		if told != 1 {
			t.Errorf("%+v: told %d times", c.o, told)
		}
	}
}

// TestWatchOfARun lets each thing that is told cause the next.
func TestWatchOfARun(t *testing.T) {
	root := filepath.Join(t.TempDir(), "run")
	blocked := func() { // a root that is not there yet, and then is a file
		if err := os.WriteFile(root, nil, 0o644); err != nil {
			t.Error(err)
		}
	}
	timer := time.AfterFunc(20*time.Millisecond, blocked)
	defer timer.Stop()
	remove := func(name string) {
		if err := orbax.Delete(t.Context(), filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	script := []struct {
		want string // base of the path; "" is an error
		then func()
	}{
		{"", func() { os.Remove(root); saveStep(t, root, "1") }},
		{"1", func() { saveStep(t, root, "2"); saveStep(t, root, "3") }},
		{"3", func() { saveStep(t, root, "3", orbax.Overwrite()) }},
		{"3", func() { saveStep(t, root, "4"); damage(t, root, "4", "_CHECKPOINT_METADATA"); remove("3") }},
		{"2", func() { remove("4"); saveStep(t, root, "4") }},
		{"4", nil},
	}
	i := 0
	for ck, err := range Watch(t.Context(), root, ReadOptions{Interval: 5 * time.Millisecond}) {
		s := script[i]
		if (err != nil) != (s.want == "") || err == nil && filepath.Base(ck.Path) != s.want {
			t.Fatalf("%d: told %+v, %v; want %q", i, ck, err, s.want)
		}
		if i++; i == len(script) {
			break
		}
		s.then()
	}
}

// Watch yields an error of Load that is about a missing file of the program, once.
func TestWatchYieldsMissingFileOfTheProgram(t *testing.T) {
	root := filepath.Join(t.TempDir(), "run")
	saveStep(t, root, "1")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	calls := 0
	load := func(context.Context, *orbax.Checkpoint) error {
		if calls++; calls == 5 {
			return nil
		}
		_, err := os.ReadFile(filepath.Join(root, "vocab.json"))
		return err
	}
	var yielded []error
	for step, err := range Watch(ctx, root, ReadOptions{Interval: time.Millisecond, Load: load}) {
		yielded = append(yielded, err)
		if step.Step == 1 {
			break
		}
	}
	if len(yielded) != 2 || !errors.Is(yielded[0], fs.ErrNotExist) || yielded[1] != nil {
		t.Errorf("yielded %v in %d calls of Load", yielded, calls)
	}
}
