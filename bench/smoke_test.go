package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMain lets the test binary be the child of the program that it tests.
func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		os.Exit(serveChild(os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

// TestProgram runs all of the program, without Python, on tiny states.
func TestProgram(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(t.TempDir(), "result.json")
	var out, log strings.Builder
	err := run(t.Context(), []string{"-dir", dir, "-n", "2", "-cases", "4x64KiB,3x4KiB:bfloat16", "-json", file}, &out, &log)
	if err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Cases []struct {
			Rows []struct {
				Group, Who string
				Samples    []sample
				Skipped    string
			}
			Checks []check
		}
	}
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Cases) != 2 {
		t.Fatalf("%d cases, want 2", len(got.Cases))
	}
	for _, c := range got.Cases {
		if len(c.Checks) == 0 {
			t.Error("no goal was checked")
		}
		for _, r := range c.Rows {
			switch {
			case r.Skipped != "":
				t.Logf("%s, %s: %s", r.Group, r.Who, r.Skipped)
			case len(r.Samples) != 2 || r.Samples[0].Seconds <= 0:
				t.Errorf("%s, %s: samples %v", r.Group, r.Who, r.Samples)
			}
		}
	}
	if rest, _ := os.ReadDir(dir); len(rest) > 0 {
		t.Errorf("left behind: %v", rest)
	}
	for _, want := range []string{groupSave, groupWarm, groupAgain, whoFresh} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, &out)
		}
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

// TestChecks judges invented measurements.
func TestChecks(t *testing.T) {
	at := func(group, who string, python bool, seconds float64, beyond int64) *row {
		return &row{
			method:  method{Group: group, Who: who, job: job{Python: python}},
			Samples: []sample{{Seconds: seconds, Beyond: beyond}},
		}
	}
	c := &caseResult{
		Case: benchCase{Arrays: 4000, Bytes: 1 << 20, DType: "float32"},
		Rows: []*row{
			at(groupLimit, whoDisk, false, 1, 0), at(groupSave, whoOurs, false, 1.4, 100<<20),
			at(groupSave, whoOrbax, true, 20, 0), at(groupSave, whoRaw, true, 10, 0),
			at(groupWarm, whoOurs, false, 1, 200<<20), at(groupWarm, whoOrbax, true, 0.5, 0),
		},
	}
	met := map[string]bool{}
	for _, ch := range c.checks() {
		met[ch.Goal] = ch.Met
	}
	want := map[string]bool{
		"save, time to that of dd":                    true,
		"load, warm, in place, time to that of Orbax": false,
		"save, MiB beyond the state":                  true,
		"load in place, MiB beyond the state":         false,
		"save, times faster than Orbax":               true,
		"save, times faster than Orbax, uncompressed": false,
		"load in place, times faster than Orbax":      false,
	}
	if len(met) != len(want) {
		t.Errorf("got %v, want %v", met, want)
	}
	for goal, w := range want {
		if got, ok := met[goal]; !ok || got != w {
			t.Errorf("%s: met %v (judged %v), want %v", goal, got, ok, w)
		}
	}
}
