//go:build unix

package jax_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/coord/jax"
	"github.com/go-orbax/orbax/internal/testenv"
)

const ttl = 2 * time.Second

func init() { withService["lost"] = testLost }

func TestMain(m *testing.M) {
	if job, arg, ok := testenv.Child(); ok {
		if err := jobs[job](strings.Split(arg, " ")); err != nil {
			fmt.Println("failed", err)
		}
		return
	}
	os.Exit(m.Run())
}

// jobs are what child processes do.
var jobs = map[string]func(args []string) error{"member": memberJob, "keeper": keeperJob, "worker": workerJob}

// memberJob joins, then passes barriers and says so until one fails.
func memberJob(args []string) error {
	client, g, err := joinAs(args)
	if err != nil {
		return err
	}
	defer client.Close()
	defer g.Close()
	for i := 0; ; i++ {
		if err := g.Barrier(context.Background(), fmt.Sprint(i)); err != nil {
			return err
		}
		fmt.Println("passed", i)
		time.Sleep(20 * time.Millisecond)
	}
}

// keeperJob joins, sets a key of the group, says so, and stays until it is killed.
func keeperJob(args []string) error {
	_, g, err := joinAs(args)
	if err != nil {
		return err
	}
	if err := g.Driver().Set(context.Background(), "of/"+args[2], []byte("value")); err != nil {
		return err
	}
	fmt.Println("set")
	select {}
}

// joinAs joins the group that the arguments of a job name: address, name, rank and size.
func joinAs(args []string) (*jax.Client, *coord.Group, error) {
	client, err := jax.Dial(context.Background(), args[0])
	if err != nil {
		return nil, nil, err
	}
	rank, _ := strconv.Atoi(args[2])
	size, _ := strconv.Atoi(args[3])
	g, err := jax.Join(context.Background(), client, jax.Options{Name: args[1], Rank: rank, Size: size, TTL: ttl})
	if err != nil {
		return nil, nil, errors.Join(err, client.Close())
	}
	return client, g, nil
}

// startChild starts a child process. The channel gets what it prints.
func startChild(t *testing.T, job string, args ...string) (*exec.Cmd, <-chan string) {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.Command(exe)
	testenv.SetChild(cmd, job, strings.Join(args, " "))
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := make(chan string, 1<<16)
	go func() {
		defer close(lines)
		for scan := bufio.NewScanner(out); scan.Scan(); {
			lines <- scan.Text()
		}
	}()
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd, lines
}

// barriers passes barriers until one fails.
func barriers(g *coord.Group) error {
	for i := 0; ; i++ {
		if err := g.Barrier(context.Background(), fmt.Sprint(i)); err != nil {
			return err
		}
	}
}

// A process that is killed or stopped is lost to the others within its TTL, and one that
// continues after that can do nothing any more. Its place is free for the next.
func testLost(t *testing.T, s *service) {
	for name, signal := range map[string]syscall.Signal{"killed": syscall.SIGKILL, "stopped": syscall.SIGSTOP} {
		for _, rank := range []int{0, 2} {
			t.Run(fmt.Sprint(name, rank), func(t *testing.T) {
				t.Parallel()
				client := s.client(t)
				group := fmt.Sprint(name, rank)
				cmd, lines := startChild(t, "member", s.address, group, fmt.Sprint(rank), "3")
				done := make(chan error, 2)
				for own := range 3 {
					if own != rank {
						go func() {
							g, err := jax.Join(t.Context(), client, jax.Options{Name: group, Rank: own, Size: 3, TTL: ttl})
							if err == nil {
								err = barriers(g)
								err = errors.Join(err, g.Close())
							}
							done <- err
						}()
					}
				}
				for range 10 {
					if line := <-lines; !strings.HasPrefix(line, "passed") {
						t.Fatal(line)
					}
				}
				must(t, cmd.Process.Signal(signal))
				start := time.Now()
				for range 2 {
					err := <-done
					var lost *coord.LostError
					if !errors.As(err, &lost) || lost.Rank != rank || errors.Is(err, jax.ErrGone) {
						t.Errorf("after %v: %v; want that process %d is lost", time.Since(start), err, rank)
					}
				}
				if took := time.Since(start); took > 3*ttl {
					t.Errorf("it took %v", took)
				}
				if signal == syscall.SIGSTOP {
					must(t, cmd.Process.Signal(syscall.SIGCONT))
					last := ""
					for line := range lines {
						last = line
					}
					if want := fmt.Sprintf("process %d is lost", rank); !strings.HasPrefix(last, "failed") || !strings.Contains(last, want) {
						t.Errorf("it continues with %q; want %s", last, want)
					}
				}
				var wg sync.WaitGroup
				for own := range 3 {
					wg.Go(func() {
						g, err := jax.Join(t.Context(), client, jax.Options{Name: group, Rank: own, Size: 3, TTL: ttl})
						if err != nil {
							t.Error(err)
							return
						}
						if err := g.Close(); err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				jax.WantNoKeys(t, client, group+"/")
			})
		}
	}
	testAllKilled(t, s)
}

// testAllKilled lets all processes of a group die. The next ones remove what they have
// left, even if a process that has begun to do so dies too.
func testAllKilled(t *testing.T, s *service) {
	client := s.client(t)
	var dead []*exec.Cmd
	var says []<-chan string
	for rank := range 2 {
		cmd, lines := startChild(t, "keeper", s.address, "dead", fmt.Sprint(rank), "2")
		dead, says = append(dead, cmd), append(says, lines)
	}
	for _, lines := range says {
		if line := <-lines; line != "set" {
			t.Fatalf("a process says %q", line)
		}
	}
	for _, cmd := range dead {
		must(t, cmd.Process.Kill())
		_ = cmd.Wait() // it was killed
	}
	left := client.Keys(t, "dead/groups/")
	place := client.Keys(t, "dead/members/places/")["dead/members/places/0"]
	if place == "" || len(left) < 2 {
		t.Fatalf("the dead have left the place %q and the keys %v of their group", place, left)
	}
	client.SetKey(t, "dead/members/burials/"+place, "a process that is dead too")
	client.SetKey(t, "dead/groups/0123/k1", "of an earlier group")
	left["dead/groups/0123/k1"] = ""
	for _, g := range joinAll(t, s, jax.Options{Name: "dead", Size: 2, TTL: ttl}) {
		for key := range client.Keys(t, "dead/groups/") {
			if _, old := left[key]; old {
				t.Errorf("there is still %s", key)
			}
		}
		must(t, g.Close())
	}
	jax.WantNoKeys(t, client, "dead/")
}

// If the service ends, in order or not, every process of a group gets to know within its
// TTL, whatever it does. No goroutine is left.
func TestServiceEnds(t *testing.T) {
	for _, how := range []string{"killed", "closed"} {
		t.Run(how, func(t *testing.T) {
			s := startService(t)
			before := runtime.NumGoroutine()
			client := s.client(t)
			groups := make([]*coord.Group, 2)
			var joined sync.WaitGroup
			for rank := range groups {
				joined.Go(func() {
					g, err := jax.Join(t.Context(), client, jax.Options{Name: "g", Rank: rank, Size: 2, TTL: ttl})
					if err != nil {
						t.Error(err)
						return
					}
					groups[rank] = g
				})
			}
			joined.Wait()
			if t.Failed() {
				t.FailNow()
			}
			errs := make(chan error, 3)
			go func() { _, err := groups[0].Driver().Wait(t.Context(), "never", 1); errs <- err }()
			for _, g := range groups {
				go func() { errs <- barriers(g) }()
			}
			time.Sleep(100 * time.Millisecond)
			start := time.Now()
			if how == "killed" {
				must(t, s.cmd.Process.Kill())
			} else {
				must(t, s.stdin.Close())
			}
			for range 3 {
				if err := <-errs; !errors.Is(err, jax.ErrGone) || !errors.As(err, new(*coord.LostError)) {
					t.Errorf("%v; want ErrGone", err)
				}
			}
			t.Log(time.Since(start))
			if took := time.Since(start); took > 3*ttl {
				t.Errorf("it took %v", took)
			}
			start = time.Now()
			for _, g := range groups {
				must(t, g.Close())
			}
			must(t, client.Close())
			if took := time.Since(start); took > ttl {
				t.Errorf("leaving took %v", took)
			}
			for range 100 {
				if runtime.NumGoroutine() <= before {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
			stacks := make([]byte, 1<<16)
			t.Errorf("%d goroutines are left: %s", runtime.NumGoroutine()-before, stacks[:runtime.Stack(stacks, true)])
		})
	}
}
