package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/coord/etcd/embedded"
)

// story runs the example, one step after the other.
type story struct {
	dir      string // of the checkpoints
	endpoint string // of etcd
	out      io.Writer
}

// tell tells the story, and removes what it has made.
func tell(ctx context.Context, out io.Writer) (err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute) // it takes some seconds
	defer cancel()
	dir, err := os.MkdirTemp("", "orbax-multihost-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	server, err := embedded.Start(ctx, embedded.Options{Dir: filepath.Join(dir, "etcd"), Forget: true})
	if err != nil {
		return err
	}
	defer server.Close()
	s := &story{filepath.Join(dir, "run"), server.Endpoint(), out}
	if err := os.Mkdir(s.dir, 0o777); err != nil {
		return err
	}
	return s.tell(ctx)
}

func (s *story) tell(ctx context.Context) (err error) {
	fmt.Fprintf(s.out, "etcd listens at %s, the checkpoints are in %s\n", s.endpoint, s.dir)
	four, err := startAll(ctx, 4, s.endpoint)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, four.end()) }()
	if err := s.saveTogether(four); err != nil {
		return err
	}
	if err := s.loadElsewhere(ctx); err != nil {
		return err
	}
	if err := s.killOne(ctx, &four); err != nil {
		return err
	}
	return s.goOn(ctx, four)
}

func (s *story) path(step int) string { return filepath.Join(s.dir, fmt.Sprint(step)) }

// saveTogether lets four processes save step 1.
func (s *story) saveTogether(four children) error {
	fmt.Fprintln(s.out, "\n1. Four processes, with 2 of the 8 devices of a 2 x 4 mesh each, save a state of 56 MiB together as step 1")
	_, err := four.do(func(rank int) command { return command{Do: "join", Name: "four", Rank: rank, Size: 4} })
	if err != nil {
		return err
	}
	reports, err := four.do(func(int) command { return command{Do: "save", Path: s.path(1), Step: 1} })
	if err != nil {
		return err
	}
	s.print(reports, "wrote")
	return nil
}

// loadElsewhere lets two new processes load step 1.
func (s *story) loadElsewhere(ctx context.Context) (err error) {
	fmt.Fprintln(s.out, "\n2. Two other processes, with a mesh of 1 x 2, load it: each reads its own shards, and finds the right elements")
	two, err := startAll(ctx, 2, s.endpoint)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, two.end()) }()
	if _, err := two.do(func(rank int) command { return command{Do: "join", Name: "two", Rank: rank, Size: 2} }); err != nil {
		return err
	}
	reports, err := two.do(func(int) command { return command{Do: "load", Path: s.path(1)} })
	if err != nil {
		return err
	}
	s.print(reports, "read")
	return nil
}

// victim is the rank of the process that is killed.
const victim = 2

// killOne lets the four save step 2, kills one of them, and leaves it out of four.
func (s *story) killOne(ctx context.Context, four *children) error {
	fmt.Fprintf(s.out, "\n3. The four save step 2, and process %d is killed (SIGKILL) in the middle\n", victim)
	err := four.send(func(rank int) command {
		return command{Do: "save", Path: s.path(2), Step: 2, Stall: rank == victim}
	})
	if err != nil {
		return err
	}
	dead := (*four)[victim]
	r, err := dead.receive()
	if err != nil {
		return err
	}
	if !r.Stalled {
		return fmt.Errorf("process %d does not stop in its save: %s", victim, r.Err)
	}
	if err := s.list(); err != nil {
		return err
	}
	*four = append((*four)[:victim:victim], (*four)[victim+1:]...)
	killed := time.Now()
	if err := dead.kill(); err != nil {
		return err
	}
	reports, err := four.receive()
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "   after %.1f s the others get an error:\n", time.Since(killed).Seconds())
	for _, r := range reports {
		if r.Err == "" {
			return fmt.Errorf("process %d has saved without process %d", r.Rank, victim)
		}
		fmt.Fprintf(s.out, "   process %d: %s\n", r.Rank, strings.ReplaceAll(r.Err, s.dir, "…"))
	}
	if err := s.list(); err != nil {
		return err
	}
	if err := orbax.Verify(ctx, s.path(1)); err != nil {
		return err
	}
	fmt.Fprintln(s.out, "   step 1 is intact: all of its bytes have been read and checked")
	return nil
}

// goOn lets the survivors load step 1 and save step 2.
func (s *story) goOn(ctx context.Context, three children) error {
	fmt.Fprintln(s.out, "\n4. The survivors form a new group, with a mesh of 1 x 3, load step 1, and save step 2")
	if _, err := three.do(func(int) command { return command{Do: "rejoin", Name: "three"} }); err != nil {
		return err
	}
	reports, err := three.do(func(int) command { return command{Do: "load", Path: s.path(1)} })
	if err != nil {
		return err
	}
	s.print(reports, "read")
	if reports, err = three.do(func(int) command { return command{Do: "save", Path: s.path(2), Step: 2} }); err != nil {
		return err
	}
	s.print(reports, "wrote")
	if err := s.list(); err != nil {
		return err
	}
	if err := orbax.Verify(ctx, s.path(2)); err != nil {
		return err
	}
	fmt.Fprintln(s.out, "   step 2 is intact")
	return nil
}

// print prints how much of the state each process holds, and what it has done.
func (s *story) print(reports []report, did string) {
	var together int64
	rows := [3]string{"   process", "   holds", "   " + did}
	for i := range rows {
		rows[i] = fmt.Sprintf("%-10s", rows[i])
	}
	for _, r := range reports {
		rows[0] += fmt.Sprintf("%11d", r.Rank)
		rows[1] += fmt.Sprintf("%11s", mib(r.Held))
		rows[2] += fmt.Sprintf("%11s", mib(r.Moved))
		together += r.Moved
	}
	fmt.Fprintf(s.out, "%s\n%s\n%s, together %s\n", rows[0], rows[1], rows[2], mib(together))
}

func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// list prints what is in the directory of the checkpoints.
func (s *story) list() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	_, err = fmt.Fprintln(s.out, "   $ ls:", strings.Join(names, "  "))
	return err
}
