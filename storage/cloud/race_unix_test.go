//go:build unix

package cloud_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/storage/object"
)

// onceJob saves one state at a path when it gets a line, and prints the outcome.
func onceJob(arg string) {
	args := strings.Fields(arg) // cloud, address, bucket, path, seed
	store := childStore(args)
	seed, _ := strconv.Atoi(args[4])
	state := stateOf(seed)
	fmt.Println("ready")
	bufio.NewScanner(os.Stdin).Scan()
	err := orbax.Save(context.Background(), args[3], state, orbax.In(store))
	switch {
	case err == nil:
		fmt.Println("saved")
	case errors.Is(err, orbax.ErrBusy), errors.Is(err, orbax.ErrExist):
		fmt.Println("refused", err)
	case errors.Is(err, orbax.ErrNotExist):
		fmt.Println("lost", err)
	default:
		fmt.Println("failed", err)
	}
}

func init() { jobs["once"] = onceJob }

// saver is a child process that saves once.
type saver struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Scanner
	seed  int
}

func startSaver(t *testing.T, c cloud, addr, bucket, path string, seed int) *saver {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	s := &saver{cmd: exec.CommandContext(t.Context(), exe), seed: seed}
	testenv.SetChild(s.cmd, "once", strings.Join([]string{c.name, addr, bucket, path, strconv.Itoa(seed)}, " "))
	s.in, err = s.cmd.StdinPipe()
	must(t, err)
	out, err := s.cmd.StdoutPipe()
	must(t, err)
	s.cmd.Stderr = os.Stderr
	must(t, s.cmd.Start())
	t.Cleanup(func() { s.cmd.Process.Kill(); s.cmd.Wait() })
	s.lines = bufio.NewScanner(out)
	if line := s.line(); line != "ready" {
		t.Fatalf("a child says %q", line)
	}
	return s
}

// begin lets it save.
func (s *saver) begin() { fmt.Fprintln(s.in) }

func (s *saver) line() string {
	s.lines.Scan()
	return s.lines.Text()
}

// Of twenty processes that save at one path at the same time exactly one succeeds.
func TestRace(t *testing.T) {
	for _, c := range clouds {
		t.Run(c.name, func(t *testing.T) {
			addr := c.start(t)
			bucket := c.newBucket(t, addr)
			for round := range often(10, 3, 1) {
				path := fmt.Sprint("run/", round)
				savers := make([]*saver, 20)
				for i := range savers {
					savers[i] = startSaver(t, c, addr, bucket, path, 5*i+1)
				}
				var group sync.WaitGroup
				outcomes := make([]string, len(savers))
				for i, s := range savers {
					s.begin()
					group.Go(func() { outcomes[i] = s.line() })
				}
				group.Wait()
				winner := -1
				for i, outcome := range outcomes {
					switch word, _, _ := strings.Cut(outcome, " "); {
					case word == "saved" && winner < 0:
						winner = savers[i].seed
					case word != "refused":
						t.Errorf("round %d, process %d: %s", round, i, outcome)
					}
				}
				v, err := orbax.Load(t.Context(), path, orbax.In(object.New(c.open(t, addr, bucket), shortLease)))
				must(t, err)
				if got, err := seedOf(v); err != nil || got != winner {
					t.Errorf("round %d: the path has seed %d, %v; the winner has saved %d", round, got, err, winner)
				}
			}
		})
	}
}

// A writer that is stopped until another has saved in its place damages nothing when it
// continues, and reports that it has lost.
func TestStopped(t *testing.T) {
	for _, c := range clouds {
		t.Run(c.name, func(t *testing.T) {
			addr := c.start(t)
			bucket := c.newBucket(t, addr)
			store := object.New(c.open(t, addr, bucket), shortLease)
			in := orbax.In(store)
			lost := 0
			rounds := often(60, 10, 3)
			for round := range rounds {
				path := fmt.Sprint("run/", round)
				s := startSaver(t, c, addr, bucket, path, 5*round+5) // of several parts
				s.begin()
				time.Sleep(time.Duration(rand.Int64N(int64(400 * time.Millisecond))))
				must(t, s.cmd.Process.Signal(syscall.SIGSTOP))
				seed := 5*round + 6
				err := orbax.ErrBusy
				for start := time.Now(); errors.Is(err, orbax.ErrBusy) && time.Since(start) < 30*time.Second; time.Sleep(100 * time.Millisecond) {
					err = orbax.Save(t.Context(), path, stateOf(seed), in)
				}
				if errors.Is(err, orbax.ErrExist) { // it had saved, or another has finished its commit
					seed, err = s.seed, nil
				}
				must(t, err)
				check := func(when string) {
					v, err := orbax.Load(t.Context(), path, in)
					if err != nil {
						t.Fatalf("%s: %v", when, err)
					}
					if got, err := seedOf(v); err != nil || got != seed {
						t.Errorf("round %d, %s: the path has seed %d, %v; want %d", round, when, got, err, seed)
					}
				}
				check("before it continues")
				must(t, s.cmd.Process.Signal(syscall.SIGCONT))
				outcome := s.line()
				switch word, _, _ := strings.Cut(outcome, " "); {
				case word == "lost" && seed != s.seed:
					lost++
				case word == "refused" && seed != s.seed: // it had not begun
				case word == "saved" && seed == s.seed:
				default:
					t.Errorf("round %d: the stopped writer: %s; the path has seed %d", round, outcome, seed)
				}
				check("after it has continued")
			}
			t.Logf("%d of %d writers have lost their claim", lost, rounds)
			page, err := c.open(t, addr, bucket).List(t.Context(), object.ListOptions{Flat: true})
			must(t, err)
			for _, o := range page.Objects {
				if strings.Contains(o.Key, "orbax-checkpoint-tmp") {
					t.Errorf("%s is left", o.Key)
				}
			}
		})
	}
}
