package main

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/training"
)

// TestIncremental measures only the steps of tiny runs, whatever states the other flags
// name.
func TestIncremental(t *testing.T) {
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "result.json")
	var out strings.Builder
	err := run(t.Context(), []string{"-dir", dir, "-n", "2", "-only", "incremental", "-incremental", "4x128KiB,2x64KiB:bfloat16", "-q", "-json", file}, &out, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if rest, _ := os.ReadDir(dir); len(rest) > 0 {
		t.Errorf("left behind: %v", rest)
	}
	var got report
	if err := got.readJSON(file); err != nil {
		t.Fatal(err)
	}
	if len(got.Cases) != 0 || len(got.Growth) != 0 || len(got.Incremental) != 2 {
		t.Fatalf("%d cases, %d series, %d runs", len(got.Cases), len(got.Growth), len(got.Incremental))
	}
	in := got.Incremental[0]
	for _, group := range []string{groupSave, groupResult} {
		whole, changed := in.row(group, whoWhole), in.row(group, whoChanged)
		if len(whole.Samples) != 2 || len(changed.Samples) != 2 {
			t.Fatalf("%s: %d samples whole, %d changed", group, len(whole.Samples), len(changed.Samples))
		}
		// A quarter of the state, and some documents.
		part := float64(changed.Samples[1].Stored) / float64(whole.Samples[1].Stored)
		if part < 0.2 || part > 0.5 {
			t.Errorf("%s: a changed array is %.2f of a whole save", group, part)
		}
		if whole.Samples[0].Digest != 0 || changed.Samples[0].Digest <= 0 {
			t.Errorf("%s: fingerprints took %v and %v s", group, whole.Samples[0].Digest, changed.Samples[0].Digest)
		}
	}
	if n := len(in.Steps); n != longRun || in.Verified != 10+5+2+1 || in.Damaged != 0 {
		t.Errorf("%d steps, %d verified, %d damaged", n, in.Verified, in.Damaged)
	}
	last := in.Steps[len(in.Steps)-1]
	if disk := float64(last.Disk) / float64(in.Case.total()); last.Disk != 0 && disk > longRun/2 {
		t.Errorf("the steps take %.1f times the state: nothing is shared", disk)
	}
	for _, want := range []string{whoFirst, "fingerprints", "A run of 20 steps", "needs orbax-checkpoint", "18 steps that remained: 0 damaged"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the tables lack %q:\n%s", want, &out)
		}
	}
	if want := []string{"incremental, 4x128KiB", "incremental, 2x64KiB:bfloat16"}; len(got.Goals) != 2 || got.Goals[0].Case != want[0] || got.Goals[1].Case != want[1] {
		t.Errorf("judged %v", got.Goals)
	}
}

func TestOnlyUnknown(t *testing.T) {
	err := run(t.Context(), []string{"-dir", t.TempDir(), "-only", "case"}, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "want cases, growth, incremental or together") {
		t.Errorf("got %v", err)
	}
}

// TestDamagedStep damages a file that all steps share. The run then fails.
func TestDamagedStep(t *testing.T) {
	r := &runner{dir: t.TempDir(), log: io.Discard, start: time.Now()}
	c, err := parseCase("4x64KiB")
	if err != nil {
		t.Fatal(err)
	}
	state, err := c.owned()
	if err != nil {
		t.Fatal(err)
	}
	run, err := r.newRun(t.Context(), "run", training.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer run.end()
	in := &incremental{caseResult: caseResult{Case: c}}
	for range 4 {
		s, err := (&trainer{state: state}).save(t.Context(), run, opSave)
		if err != nil {
			t.Fatal(err)
		}
		in.Steps = append(in.Steps, runStep{Written: s.Stored})
	}
	damage(t, run.Path(0))
	if err := r.removeSteps(t.Context(), in, run); err != nil {
		t.Fatal(err)
	}
	if in.Verified != 3 || in.Damaged != 3 || len(r.failed) != 3 {
		t.Errorf("%d verified, %d damaged, %v", in.Verified, in.Damaged, r.failed)
	}
}

// damage changes a byte in the middle of the largest file below dir, in place.
func damage(t *testing.T, dir string) {
	t.Helper()
	var largest string
	var size int64
	err := eachFile(dir, func(f *os.File) error {
		info, err := f.Stat()
		if err == nil && info.Size() > size {
			largest, size = f.Name(), info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(largest, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], size/2); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b[:], size/2); err != nil {
		t.Fatal(err)
	}
}

// TestJudgeIncremental judges invented measurements.
func TestJudgeIncremental(t *testing.T) {
	c := benchCase{"1024x1MiB", 1024, 1 << 20, "float32"}
	step := func(group, who string, s ...sample) *row {
		for i := range s {
			s[i].Round = i
		}
		return &row{method: method{Group: group, Who: who}, Samples: s}
	}
	in := &incremental{Verified: 18, Damaged: 1, caseResult: caseResult{Case: c, Rows: []*row{
		step(groupSave, whoWhole, sample{Seconds: 1}, sample{Seconds: 2}),
		step(groupSave, whoChanged, sample{Seconds: 0.1875, Digest: 0.125, Stored: 1 << 24}, sample{Seconds: 0.25, Digest: 0.125, Stored: 1 << 25}),
		step(groupResult, whoWhole, sample{Seconds: 2, Copy: 1}),
		step(groupResult, whoChanged, sample{Seconds: 1.5, Digest: 0.25, Copy: 1, Stored: 1 << 24}),
	}}}
	r := &report{Incremental: []*incremental{in}}
	r.judge()
	const name = "incremental, 1024x1MiB"
	want := []goal{
		{9, name, "save, one array changed, written, of the state", 0.03125, 0.02, false, false, 0},
		{9, name, "save, one array changed, beyond fingerprints and copy, of the time of a whole one", 0.0625, 0.1, false, true, 0},
		{9, name, "save async, to the end, one array changed, written, of the state", 0.015625, 0.02, false, true, 0},
		{9, name, "save async, to the end, one array changed, beyond fingerprints and copy, of the time of a whole one", 0.25, 0.1, false, false, 0},
		{9, name, "steps damaged when others are removed", 1, 0, false, false, 0},
	}
	if !slices.Equal(r.Goals, want) {
		t.Errorf("got\n%v\nwant\n%v", r.Goals, want)
	}
	// A small state has only the last goal, and a state that was not measured has none.
	in.Case.Arrays = 8
	if r.judge(); len(r.Goals) != 1 {
		t.Errorf("a small state: %v", r.Goals)
	}
	in.Verified = 0
	if r.judge(); len(r.Goals) != 0 {
		t.Errorf("one that was not measured: %v", r.Goals)
	}
}

// TestChange checks that steps change one array after the other, each one completely.
func TestChange(t *testing.T) {
	state := map[string]*array.Array{"w00000": array.Of(make([]float32, 2048)), "w00001": array.Of(make([]float32, 2048))}
	tr := &trainer{state: state}
	for i, want := range []string{"\x01\x01\x00\x00", "\x01\x01\x01\x01", "\x02\x02\x01\x01"} {
		tr.change()
		a, b := state["w00000"].Bytes(), state["w00001"].Bytes()
		if got := string([]byte{a[0], a[4096], b[0], b[4096]}); got != want {
			t.Errorf("after change %d: %q", i, got)
		}
	}
}

// TestAllocated checks that a file with two names counts once.
func TestAllocated(t *testing.T) {
	dir := t.TempDir()
	before, err := allocated(dir)
	if err != nil {
		t.Skip(err)
	}
	name := filepath.Join(dir, "a")
	if err := os.WriteFile(name, make([]byte, 1<<20), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(name, filepath.Join(dir, "b")); err != nil {
		t.Skip(err)
	}
	settle() // a file system may allocate late
	after, err := allocated(dir)
	if err != nil || after-before > 3<<19 {
		t.Errorf("%d bytes, %v", after-before, err)
	}
}
