//go:build unix

package etcd_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/coord/etcd"
	"github.com/go-orbax/orbax/multihost"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/training"
)

// trainerOf is the variable that makes the test's program a process of a training:
// endpoint, name, rank, size and root.
const trainerOf = "ORBAX_ETCD_TRAINER"

// model is the part of the state that a process has: rows of w, which all are the step.
type model struct {
	W    *array.Sharded `orbax:"w"`
	Step int            `orbax:"step"`
}

func newModel(rank, size int) (*model, error) {
	ids := make([]int, size)
	for i := range ids {
		ids[i] = i
	}
	on := sharding.Named(sharding.Mesh{Shape: []int{size}, AxisNames: []string{"x"}, DeviceIDs: ids}, sharding.PartitionSpec{{"x"}})
	w, err := array.AllocSharded(array.ShapeDtypeStruct{Shape: []int{size, 1000}, DType: array.Int32, Sharding: on}, sharding.Process{Rank: rank, Size: size})
	return &model{W: w}, err
}

// rows returns the memory of the shards of w.
func (m *model) rows() (all []int32) {
	for _, s := range m.W.Shards() {
		values, _ := array.Values[int32](s.Array)
		all = values
	}
	return all
}

// train resumes a run and makes steps until the notice comes.
func train(args []string) (err error) {
	ctx := context.Background()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{args[0]}, DialTimeout: 10 * time.Second})
	if err != nil {
		return err
	}
	defer client.Close()
	rank, _ := strconv.Atoi(args[2])
	size, _ := strconv.Atoi(args[3])
	group, err := etcd.Join(ctx, client, etcd.Options{Name: args[1], Rank: rank, Size: size, TTL: ttl})
	if err != nil {
		return err
	}
	defer group.Close()
	checkpoints, err := training.New(ctx, args[4], training.Options{
		Together:     multihost.Together{Group: group},
		SaveDecision: training.AnySavePolicy{training.FixedIntervalPolicy{Interval: 1000}, training.PreemptionCheckpointingPolicy{}},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, checkpoints.Close()) }()
	m, err := newModel(rank, size)
	if err != nil {
		return err
	}
	switch step, err := checkpoints.Resume(ctx, m); {
	case err == nil:
		fmt.Println("resumed", step)
	case !errors.Is(err, orbax.ErrNotExist):
		return err
	}
	for row := m.rows(); !checkpoints.Preempted(); {
		for i, was := range row {
			if int(was) != m.Step {
				return fmt.Errorf("%d in step %d", was, m.Step)
			}
			row[i]++
		}
		m.Step++
		time.Sleep(5 * time.Millisecond)
		saved, err := checkpoints.Save(ctx, m.Step, m)
		if err != nil {
			return err
		}
		fmt.Println("step", m.Step, saved)
	}
	fmt.Println("ended", m.Step)
	return nil
}

// A SIGTERM to one of four processes makes all of them save the same step and end. Then
// four other processes resume from it.
func TestPreempted(t *testing.T) {
	endpoint := newClients(t)(t).Endpoints()[0]
	root := filepath.Join(t.TempDir(), "run")
	const n = 4
	last := ""
	for round, rank := range []int{2, 0} {
		var cmds [n]*exec.Cmd
		var lines [n]*bufio.Scanner
		for i := range n {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s run%d %d %d %s", trainerOf, endpoint, round, i, n, root))
			cmd.Stderr = os.Stderr
			out, err := cmd.StdoutPipe()
			if err == nil {
				err = cmd.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
			cmds[i], lines[i] = cmd, bufio.NewScanner(out)
		}
		next := func(i int) string {
			if !lines[i].Scan() {
				t.Fatalf("process %d has ended: %v", i, lines[i].Err())
			}
			return lines[i].Text()
		}
		if round > 0 {
			for i := range n {
				if line := next(i); line != "resumed "+last {
					t.Fatalf("process %d: %q, want that it resumes from %s", i, line, last)
				}
			}
		}
		for range 5 {
			if line := next(rank); !strings.HasSuffix(line, " false") {
				t.Fatalf("process %d: %q", rank, line)
			}
		}
		if err := cmds[rank].Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			step := ""
			for before := ""; step == ""; {
				line := next(i)
				if end, ok := strings.CutPrefix(line, "ended "); ok {
					step = end
					if before != "step "+end+" true" {
						t.Errorf("process %d ends after %q at step %s", i, before, end)
					}
				}
				before = line
			}
			if i > 0 && step != last {
				t.Errorf("process %d ends at step %s, process 0 at %s", i, step, last)
			}
			last = step
			if err := cmds[i].Wait(); err != nil {
				t.Errorf("process %d: %v", i, err)
			}
		}
	}
	steps, err := training.Steps(t.Context(), root, training.ReadOptions{})
	if err != nil || len(steps) != 2 || fmt.Sprint(steps[1].Step) != last {
		t.Errorf("the run has the steps %v, %v; the last is %s", steps, err, last)
	}
	if err := orbax.Verify(t.Context(), filepath.Join(root, last)); err != nil {
		t.Error(err)
	}
}
