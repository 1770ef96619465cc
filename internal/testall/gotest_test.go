package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"
)

func TestReport(t *testing.T) {
	const p = `"Package":"github.com/go-orbax/orbax/zarr"`
	for _, c := range []struct {
		name   string
		events []string
		want   counts
		says   []string
		not    []string
	}{
		{"passes", []string{
			`{"Action":"start",` + p + `}`,
			`{"Action":"output",` + p + `,"Test":"TestA","Output":"noise\n"}`,
			`{"Action":"pass",` + p + `,"Test":"TestA","Elapsed":0.1}`,
			`{"Action":"skip",` + p + `,"Test":"TestB","Elapsed":0.1}`,
			`{"Action":"pass",` + p + `,"Elapsed":1.5}`,
		}, counts{passed: 1, skipped: 1}, []string{"ok   zarr", "1.5s"}, []string{"noise"}},
		{"fails", []string{
			`{"Action":"start",` + p + `}`,
			`{"Action":"output",` + p + `,"Test":"TestA","Output":"got 1, want 2\n"}`,
			`{"Action":"fail",` + p + `,"Test":"TestA","Elapsed":0.1}`,
			`{"Action":"fail",` + p + `,"Elapsed":1.5}`,
		}, counts{failed: 2}, []string{"FAIL zarr TestA", "got 1, want 2", "FAIL zarr "}, nil},
		{"is cut off", []string{
			`{"Action":"start",` + p + `}`,
			`{"Action":"output",` + p + `,"Test":"TestA","Output":"waiting for pip\n"}`,
			`{"Action":"output",` + p + `,"Output":"panic: test timed out\n"}`,
			`{"Action":"fail",` + p + `,"Elapsed":600}`,
		}, counts{failed: 1}, []string{"panic: test timed out", "TestA did not end", "waiting for pip"}, nil},
		{"does not build", []string{
			`{"ImportPath":"github.com/go-orbax/orbax/zarr","Action":"build-output","Output":"undefined: x\n"}`,
			`{"ImportPath":"github.com/go-orbax/orbax/zarr","Action":"build-fail"}`,
		}, counts{failed: 1}, []string{"undefined: x"}, nil},
		{"go test speaks", []string{"go: no such module"}, counts{}, []string{"go: no such module"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			var total counts
			r := &reporter{out: &out, total: &total, running: map[string]time.Time{}, output: map[string]*bytes.Buffer{}}
			if err := r.read(strings.NewReader(strings.Join(c.events, "\n") + "\n")); err != nil {
				t.Fatal(err)
			}
			if total != c.want {
				t.Errorf("counted %+v, want %+v", total, c.want)
			}
			for _, s := range c.says {
				if !strings.Contains(out.String(), s) {
					t.Errorf("reported %q, which lacks %q", out.String(), s)
				}
			}
			for _, s := range c.not {
				if strings.Contains(out.String(), s) {
					t.Errorf("reported %q, which should not have %q", out.String(), s)
				}
			}
			if len(r.running) > 0 {
				t.Errorf("still running: %v", r.running)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{"-h"}, {"-race", "--help"}} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // nothing else can run
		var out bytes.Buffer
		if err := run(ctx, &out, args); err != nil || !strings.HasPrefix(out.String(), "usage: ") {
			t.Errorf("%q: %v, printed %q", args, err, &out)
		}
	}
}
