package jax_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/coord/coordtest"
	"github.com/go-orbax/orbax/coord/jax"
	"github.com/go-orbax/orbax/internal/testenv/python"
)

// service is a process with a coordination service.
type service struct {
	address string
	cmd     *exec.Cmd
	stdin   io.Closer
}

// startService starts a service that ends with the test.
func startService(t *testing.T) *service {
	t.Helper()
	cmd := exec.Command(python.Need(t), filepath.Join("testdata", "service.py"))
	cmd.Env = append(os.Environ(), "JAX_PLATFORMS=cpu")
	var errs strings.Builder
	cmd.Stderr = &errs
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	s := &service{cmd: cmd, stdin: in}
	t.Cleanup(func() {
		in.Close()
		start := time.Now()
		err := cmd.Wait()
		if err != nil && cmd.ProcessState.ExitCode() >= 0 { // it was not killed
			t.Errorf("the service: %v", err)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("the service takes %v to end", took)
		}
		if t.Failed() {
			t.Log(errs.String())
		}
	})
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatalf("the service does not start: %s", errs.String())
	}
	s.address = lines.Text()
	return s
}

func (s *service) client(t *testing.T) *jax.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := jax.Dial(ctx, s.address)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// joinAll makes groups of n processes, each with a client of its own.
func joinAll(t *testing.T, s *service, o jax.Options) []*coord.Group {
	t.Helper()
	groups := make([]*coord.Group, o.Size)
	var wg sync.WaitGroup
	for rank := range groups {
		client, o := s.client(t), o
		o.Rank = rank
		wg.Go(func() {
			g, err := jax.Join(t.Context(), client, o)
			if err != nil {
				t.Error(err)
				return
			}
			groups[rank] = g
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	for _, g := range groups {
		t.Cleanup(func() { g.Close() })
	}
	return groups
}

// withService are the tests that do not end the service. They share one.
var withService = map[string]func(t *testing.T, s *service){"driver": testDriver, "directories": testDirectories, "refused": testRefused}

func TestWithService(t *testing.T) {
	s := startService(t)
	for name, test := range withService {
		t.Run(name, func(t *testing.T) { test(t, s) })
	}
	dirs := []string{"dirs/", "alone/", "g/"}
	for i := range 20 {
		dirs = append(dirs, fmt.Sprintf("test%d/", i))
	}
	jax.WantNoKeys(t, s.client(t), dirs...)
}

func testDriver(t *testing.T, s *service) {
	n := 0
	coordtest.Test(t, func(t *testing.T, size int) []coord.Driver {
		n++
		var drivers []coord.Driver
		for _, g := range joinAll(t, s, jax.Options{Name: fmt.Sprint("test", n), Size: size}) {
			drivers = append(drivers, g.Driver())
		}
		return drivers
	})
}

// A key can have the name of a directory, which the service does not distinguish in all
// calls.
func testDirectories(t *testing.T, s *service) {
	d := joinAll(t, s, jax.Options{Name: "dirs", Size: 1})[0].Driver()
	keys := func() string {
		entries, err := d.List(t.Context(), "")
		must(t, err)
		var names []string
		for _, e := range entries {
			names = append(names, e.Key)
		}
		return strings.Join(names, " ")
	}
	for _, key := range []string{"a", "a/x", "a/y/z", "ab"} {
		must(t, d.Set(t.Context(), key, nil))
	}
	must(t, d.Delete(t.Context(), "a/"))
	if got := keys(); got != "a ab" {
		t.Errorf("the keys are %s", got)
	}
	must(t, d.Set(t.Context(), "a/x", nil))
	must(t, d.Delete(t.Context(), "a"))
	if got := keys(); got != "" {
		t.Errorf("the keys are %s", got)
	}
}

func testRefused(t *testing.T, s *service) {
	client := s.client(t)
	for name, o := range map[string]jax.Options{
		"no name": {Size: 1}, "no size": {Name: "g"}, "rank": {Name: "g", Rank: 2, Size: 2}, "negative": {Name: "g", Rank: -1, Size: 2}, "TTL": {Name: "g", Size: 1, TTL: time.Millisecond},
	} {
		if _, err := jax.Join(t.Context(), client, o); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := jax.Join(ctx, client, jax.Options{Name: "alone", Size: 2}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("alone: %v", err)
	}
	g, err := jax.Join(t.Context(), client, jax.Options{Name: "alone", Size: 1}) // the keys of the attempt are gone
	must(t, err)
	defer g.Close()
	ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := jax.Join(ctx, client, jax.Options{Name: "alone", Size: 1}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a rank that is taken: %v", err)
	}
	must(t, g.Barrier(t.Context(), "still"))
}
