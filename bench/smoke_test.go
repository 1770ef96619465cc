package main

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestMain lets the test binary serve as the child of the program that it tests.
func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		os.Exit(serveChild(os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

// TestProgram runs the whole program on tiny states, without Python.
func TestProgram(t *testing.T) {
	dir, results := t.TempDir(), t.TempDir()
	file, plot := filepath.Join(results, "result.json"), filepath.Join(results, "result.svg")
	var out, log strings.Builder
	err := run(t.Context(), []string{
		"-dir", dir, "-n", "2", "-cases", "4x64KiB,2x1MiB:bfloat16", "-growth", "2x4KiB,5x4KiB;1x1MiB", "-incremental", "3x64KiB", "-together", "3x1MiB", "-json", file, "-svg", plot,
	}, &out, &log)
	if err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	var got report
	if err := got.readJSON(file); err != nil {
		t.Fatal(err)
	}
	if len(got.Cases) != 2 || len(got.Growth) != 2 || len(got.Growth[0].Cases) != 2 || len(got.Incremental) != 1 || len(got.Together) != 1 {
		t.Fatalf("%d cases, %d series, %d runs, %d states saved together; want 2, 2 of which the first has 2, 1 and 1", len(got.Cases), len(got.Growth), len(got.Incremental), len(got.Together))
	}
	if r := got.Together[0].row(groupSave, whoTogether); r == nil || len(r.Samples) != 2 || got.Together[0].stored(r).Max > 1.02 {
		t.Errorf("saved together: %+v", r)
	}
	for _, c := range append(got.Cases, got.Growth[0].Cases...) {
		for _, r := range c.Rows {
			switch {
			case r.Skipped != "":
				t.Logf("%v: %s", r.method, r.Skipped)
			case len(r.Samples) == 0 || r.Samples[0].Seconds <= 0:
				t.Errorf("%s, %v: samples %v", c.Case.Name, r.method, r.Samples)
			}
		}
	}
	if rest, _ := os.ReadDir(dir); len(rest) > 0 {
		t.Errorf("left behind: %v", rest)
	}
	for _, want := range []string{groupSave, groupInto, groupAgain, whoReuse, whoSafe + " ", "needs safetensors", "to the first", whoChanged, whoTogether} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the tables lack %q:\n%s", want, &out)
		}
	}
	judged := map[int]bool{}
	for _, g := range got.Goals {
		judged[g.Number] = true
	}
	// The other goals are for larger states, or for comparisons with Python.
	if len(judged) != 2 || !judged[7] || !judged[9] {
		t.Errorf("goals %v were judged, want 7 and 9 alone", judged)
	}

	// A saved report is shown in the same way.
	var shown strings.Builder
	again := filepath.Join(results, "again.svg")
	if err := run(t.Context(), []string{"-from", file, "-svg", again}, &shown, &log); err != nil {
		t.Fatal(err)
	}
	if shown.String() != out.String() {
		t.Errorf("-from shows\n%s\nand not\n%s", &shown, &out)
	}
	first, _ := os.ReadFile(plot)
	for _, want := range []string{whoDisk, whoReuse, "Save: 4 × 64 KiB float32"} {
		if !strings.Contains(string(first), want) {
			t.Errorf("the plot without Python lacks %q", want)
		}
	}
	if strings.Contains(string(first), "times Go") {
		t.Error("the plot without Python compares")
	}
	second, _ := os.ReadFile(again)
	if !bytes.Equal(first, second) {
		t.Error("-from draws another plot")
	}
}

// TestRows measures a single row.
func TestRows(t *testing.T) {
	var out, log strings.Builder
	err := run(t.Context(), []string{"-dir", t.TempDir(), "-n", "1", "-cases", "4x64KiB", "-only", "cases", "-rows", "^load, own memory: Go$"}, &out, &log)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("%d rows were measured:\n%s", n, &log)
	}
}

// TestRowsOfNothing checks that an expression without rows fails before anything is
// measured.
func TestRowsOfNothing(t *testing.T) {
	for _, rows := range []string{`^save: Go$\|^limit`, "torch"} {
		err := run(t.Context(), []string{"-dir", t.TempDir(), "-cases", "4x64KiB", "-only", "cases", "-rows", rows}, io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), "no row") {
			t.Errorf("-rows %q: got %v", rows, err)
		}
	}
}

// TestPlotOfNothing has only limits, for which there is no chart.
func TestPlotOfNothing(t *testing.T) {
	r := newReport(1)
	r.Cases = []*caseResult{{Case: benchCase{"4x1MiB", 4, 1 << 20, "float32"}, Rows: []*row{at(groupLimit, whoDD, "", 1, 0)}}}
	name := filepath.Join(t.TempDir(), "plot.svg")
	if err := r.writeSVG(name); err == nil {
		t.Error("got no error")
	}
	if _, err := os.Stat(name); err == nil {
		t.Error("a plot was written")
	}
}

func TestDurationText(t *testing.T) {
	for seconds, want := range map[float64]string{0.2: "1 second", 59.5: "60 seconds", 120: "120 seconds", 121: "3 minutes", 1200: "20 minutes"} {
		if got := durationText(seconds); got != want {
			t.Errorf("%v: got %q, want %q", seconds, got, want)
		}
	}
	if got := plural(1, "round"); got != "1 round" {
		t.Errorf("got %q", got)
	}
}

// TestInterrupt checks that a cancelled run leaves no files.
func TestInterrupt(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	log := writerFunc(func(p []byte) { cancel() }) // after the first row
	err := run(ctx, []string{"-dir", dir, "-cases", "4x64KiB", "-only", "cases"}, io.Discard, log)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if rest, _ := os.ReadDir(dir); len(rest) > 0 {
		t.Errorf("left behind: %v", rest)
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }

// TestPlot draws invented measurements, and reads the drawing as XML.
func TestPlot(t *testing.T) {
	r := newReport(1)
	r.System = "a <system>"
	r.Cases = []*caseResult{{
		Case: benchCase{"4x1MiB", 4, 1 << 20, "float32"},
		Rows: []*row{
			at(groupLimit, whoDD, "", 1, 0), at(groupSave, whoOurs, ours, 1.1, 0), at(groupSave, whoOrbax, orbaxPython, 4, 0),
			at(groupInto, whoOurs, ours, 0.1, 0), at(groupLoad, whoOrbax, orbaxPython, 4, 0),
		},
	}}
	decoder := xml.NewDecoder(strings.NewReader(r.plot(r.charts())))
	for {
		if _, err := decoder.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"disk, dd", "3.64", "1.10 s", "own memory", "a &lt;system&gt;", "4 × 1 MiB float32"} {
		if !strings.Contains(r.plot(r.charts()), want) {
			t.Errorf("the plot lacks %q", want)
		}
	}
}

// at returns a row with one invented measurement.
func at(group, who string, by program, seconds float64, beyond int64) *row {
	return &row{
		method:  method{Group: group, Who: who, work: work{Program: by}},
		Samples: []sample{{Seconds: seconds, Beyond: beyond, CPU: seconds / 2}},
	}
}

func TestParseCase(t *testing.T) {
	c, err := parseCase("64x16MiB:bfloat16")
	if want := (benchCase{"64x16MiB:bfloat16", 64, 16 << 20, "bfloat16"}); err != nil || c != want {
		t.Errorf("got %v, %v, want %v", c, err, want)
	}
	for _, s := range []string{"", "x", "3", "0x4", "4x0", "4x3", "-1x4", "1x4TiB", "1x4KiB:int9", "16777215x1024GiB", "1x999999999999GiB"} {
		if c, err := parseCase(s); err == nil {
			t.Errorf("%q: got %v, want an error", s, c)
		}
	}
}

// TestJudge judges invented measurements.
func TestJudge(t *testing.T) {
	r := &report{Cases: []*caseResult{
		{
			Case: benchCase{"1024x1MiB", 1024, 1 << 20, "float32"},
			Rows: []*row{
				at(groupLimit, whoDD, "", 2, 0), at(groupLimit, whoDisk, ours, 0.875, 0),
				at(groupSave, whoOurs, ours, 1, 10<<20), at(groupSave, whoOrbax, orbaxPython, 5, 0), at(groupSave, whoRaw, orbaxPython, 1.25, 0),
				at(groupInto, whoOurs, ours, 0.125, 100<<20), at(groupLoad, whoOrbax, orbaxPython, 0.875, 0),
				at(groupLimit, whoCopy, ours, 0.25, 0), at(groupAgain, whoReuse, ours, 0.25, 0), at(groupAgain, whoImmutable, ours, 0.25, 0),
				at(groupLoad, whoOrbaxOnOurs, orbaxPython, 1.75, 0),
			},
		},
		{
			Case: benchCase{"4000x1KiB", 4000, 1 << 10, "float32"},
			Rows: []*row{at(groupSave, whoOurs, ours, 0.125, 0), at(groupSave, whoOrbax, orbaxPython, 3.5, 0)},
		},
	}}
	// Goals for large arrays do not apply to a small state or a series of small leaves.
	small := func(name string, arrays, size int) *caseResult {
		return &caseResult{
			Case: benchCase{name, arrays, size, "float32"},
			Rows: []*row{at(groupSave, whoOurs, ours, 9, 100<<20), at(groupSave, whoOrbax, orbaxPython, 9, 0), at(groupLimit, whoDD, "", 1, 0)},
		}
	}
	r.Cases = append(r.Cases, small("8x4MiB", 8, 4<<20))
	leaves := small("4000000x1KiB", 4_000_000, 1<<10)
	leaves.Rows = leaves.Rows[:1]
	r.Growth = []*series{{Cold: true, Cases: []*caseResult{leaves}}}
	r.judge()
	want := []goal{
		{1, "1024x1MiB", "save, times as fast as Orbax", 5, 4, true, true, 5 / 0.875},
		{1, "1024x1MiB", "save, times as fast as Orbax, uncompressed", 1.25, 1.5, true, false, 1.25 / 0.875},
		{1, "1024x1MiB", "save, of the disk's rate", 0.875, 0.85, true, true, 0},
		{1, "1024x1MiB", "load, own memory, times as fast as Orbax", 7, 6, true, true, 3.5},
		{2, "4000x1KiB", "save, times as fast as Orbax", 28, 30, true, false, 0},
		{3, "1024x1MiB", "second asynchronous save, blocked, times a copy", 1, 1.3, false, true, 0},
		{3, "1024x1MiB", "asynchronous save of immutable arrays, blocked, ms", 250, 5, false, false, 0},
		{4, "1024x1MiB", "large arrays: save, MiB beyond the state", 10, 64, false, true, 0},
		{4, "1024x1MiB", "large arrays: load, own memory, MiB beyond the state", 100, 64, false, false, 0},
		{5, "1024x1MiB", "save, CPU seconds a GiB", 0.5, 0.35, false, false, 0},
		{8, "1024x1MiB", "Orbax loads Go's files, times its own", 2, 1, false, false, 0},
	}
	if !slices.Equal(r.Goals, want) {
		t.Errorf("got\n%v\nwant\n%v", r.Goals, want)
	}
}

// TestValues checks that no two arrays of a large state have the same values.
func TestValues(t *testing.T) {
	c := benchCase{"1024x1MiB", 1024, 1 << 20, "float32"}
	seen := map[int64]bool{}
	for i := range c.Arrays {
		offset := c.values(i)
		if seen[offset] || offset < 0 || offset >= c.dataBytes() {
			t.Fatalf("array %d begins at %d", i, offset)
		}
		seen[offset] = true
	}
}
