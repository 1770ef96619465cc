//go:build unix

package etcd_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/coord/etcd"
)

const ttl = 3 * time.Second

// childOf is the variable that makes the test's program a member of a group: endpoint,
// name, rank and size.
const childOf = "ORBAX_ETCD_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(saverOf) != "" {
		runSaver()
		return
	}
	for name, run := range map[string]func([]string) error{childOf: child, trainerOf: train} {
		if job := os.Getenv(name); job != "" {
			if err := run(strings.Split(job, " ")); err != nil {
				fmt.Println("failed", err)
			}
			return
		}
	}
	os.Exit(m.Run())
}

// child joins, then passes barriers and says so until one fails.
func child(args []string) error {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{args[0]}, DialTimeout: 10 * time.Second})
	if err != nil {
		return err
	}
	defer client.Close()
	rank, _ := strconv.Atoi(args[2])
	size, _ := strconv.Atoi(args[3])
	g, err := etcd.Join(context.Background(), client, etcd.Options{Name: args[1], Rank: rank, Size: size, TTL: ttl})
	if err != nil {
		return err
	}
	defer g.Close()
	for i := 0; ; i++ {
		if err := g.Barrier(context.Background(), fmt.Sprint(i)); err != nil {
			return err
		}
		fmt.Println("passed", i)
		time.Sleep(20 * time.Millisecond)
	}
}

// start starts a child and waits until it has joined. The channel gets what it says later.
func start(t *testing.T, endpoint, name string, rank, size int) (*exec.Cmd, <-chan string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %d %d", childOf, endpoint, name, rank, size))
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
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

func join(t *testing.T, client *clientv3.Client, name string, rank, size int) *coord.Group {
	t.Helper()
	g, err := etcd.Join(t.Context(), client, etcd.Options{Name: name, Rank: rank, Size: size, TTL: ttl})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

// barriers passes barriers until one fails.
func barriers(t *testing.T, g *coord.Group) error {
	t.Helper()
	for i := 0; ; i++ {
		if err := g.Barrier(t.Context(), fmt.Sprint(i)); err != nil {
			return err
		}
		if i > 10_000 {
			t.Fatal("no barrier fails")
		}
	}
}

// A process that is killed or stopped is lost to the others within its TTL, and one that
// continues after that can do nothing any more.
func TestLost(t *testing.T) {
	newClient := newClients(t)
	for name, signal := range map[string]syscall.Signal{"killed": syscall.SIGKILL, "stopped": syscall.SIGSTOP} {
		for _, rank := range []int{0, 2} {
			t.Run(fmt.Sprint(name, rank), func(t *testing.T) {
				t.Parallel()
				client := newClient(t)
				group := fmt.Sprint(name, rank)
				cmd, lines := start(t, client.Endpoints()[0], group, rank, 3)
				done := make(chan error, 2)
				for _, own := range []int{0, 1, 2} {
					if own != rank {
						go func() {
							g, err := etcd.Join(t.Context(), client, etcd.Options{Name: group, Rank: own, Size: 3, TTL: ttl})
							if err == nil {
								err = barriers(t, g)
								g.Close()
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
				if err := cmd.Process.Signal(signal); err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				for range 2 {
					err := <-done
					var lost *coord.LostError
					if !errors.As(err, &lost) || lost.Rank != rank {
						t.Errorf("after %v: %v; want that process %d is lost", time.Since(start), err, rank)
					}
				}
				t.Log(time.Since(start))
				if signal == syscall.SIGSTOP {
					cmd.Process.Signal(syscall.SIGCONT)
					last := ""
					for line := range lines {
						last = line
					}
					if want := fmt.Sprintf("process %d is lost", rank); !strings.HasPrefix(last, "failed") || !strings.Contains(last, want) {
						t.Errorf("it continues with %q; want %s", last, want)
					}
				}
				// The place is free for the next.
				var wg sync.WaitGroup
				for own := range 3 {
					wg.Go(func() {
						ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
						defer cancel()
						g, err := etcd.Join(ctx, client, etcd.Options{Name: group, Rank: own, Size: 3, TTL: ttl})
						if err != nil {
							t.Error(err)
							return
						}
						t.Cleanup(func() { g.Close() })
					})
				}
				wg.Wait()
			})
		}
	}
}

// A process that loses its connection to etcd is lost, to itself too.
func TestDisconnected(t *testing.T) {
	client := newClients(t)(t)
	l := newLink(t, client.Endpoints()[0])
	other, err := clientv3.New(clientv3.Config{Endpoints: []string{l.Addr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	errs := make([]error, 2)
	var wg, joined sync.WaitGroup
	for rank, client := range []*clientv3.Client{client, other} {
		joined.Add(1)
		wg.Go(func() {
			g, err := etcd.Join(t.Context(), client, etcd.Options{Name: "cut", Rank: rank, Size: 2, TTL: ttl})
			joined.Done()
			if err != nil {
				errs[rank] = err
				return
			}
			errs[rank] = barriers(t, g)
			g.Close()
		})
	}
	joined.Wait()
	time.Sleep(100 * time.Millisecond) // so that they are at a barrier, mostly
	l.stop()
	start := time.Now()
	wg.Wait()
	t.Log(time.Since(start))
	for rank, err := range errs {
		var lost *coord.LostError
		if !errors.As(err, &lost) || lost.Rank != 1 {
			t.Errorf("process %d: %v; want that process 1 is lost", rank, err)
		}
	}
}

func TestJoinRefused(t *testing.T) {
	client := newClients(t)(t)
	for name, o := range map[string]etcd.Options{
		"no name": {Size: 1}, "no size": {Name: "g"}, "rank": {Name: "g", Rank: 2, Size: 2}, "negative": {Name: "g", Rank: -1, Size: 2}, "TTL": {Name: "g", Size: 1, TTL: time.Millisecond},
	} {
		if _, err := etcd.Join(t.Context(), client, o); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := etcd.Join(ctx, client, etcd.Options{Name: "alone", Size: 2}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("alone: %v", err)
	}
	g := join(t, client, "alone", 0, 1) // the keys of the attempt are gone
	ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := etcd.Join(ctx, client, etcd.Options{Name: "alone", Size: 1}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a rank that is taken: %v", err)
	}
	if err := g.Barrier(t.Context(), "still"); err != nil {
		t.Error(err)
	}
}
