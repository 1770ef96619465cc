package training_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/training"
)

// What the programs of TestPrograms do. Each prints a line for what it has done, or is
// about to do, and "wrong" with what must not happen. They end when the file
// <root>.stop is there.
func init() {
	for mode, do := range map[string]func(ctx context.Context, root string, n int){
		"trainer": trainOn, "reader": readOn, "cleaner": cleanOn, "deleter": deleteOn,
	} {
		children[mode] = func(t *testing.T, root string) {
			for n := 0; ; n++ {
				if _, err := os.Stat(root + ".stop"); err == nil {
					return
				}
				do(t.Context(), root, n)
			}
		}
	}
}

// littleState is small, so that much happens in a second.
type littleState struct {
	W    []int32 `orbax:"w"`
	Step int     `orbax:"step"`
}

func littleStateOf(step int) *littleState {
	s := &littleState{make([]int32, 1000), step}
	for i := range s.W {
		s.W[i] = int32(step*1000 + i)
	}
	return s
}

func (s *littleState) check(step int) error {
	if s.Step != step || !slices.Equal(s.W, littleStateOf(step).W) {
		return fmt.Errorf("not the state of step %d: that of %d", step, s.Step)
	}
	return nil
}

// allowed reports whether an error is one of those that several programs on one root
// must expect: each says what is the matter.
func allowed(err error, these ...error) bool {
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, orbax.ErrCorrupt) {
		return false
	}
	return slices.ContainsFunc(these, func(e error) bool { return errors.Is(err, e) })
}

// reporting is a policy that prints what it does not keep, before it is removed.
type reporting struct{ training.PreservationPolicy }

func (p reporting) ShouldPreserve(checkpoints []training.Step, c training.PreservationContext) ([]bool, error) {
	keep, err := p.PreservationPolicy.ShouldPreserve(checkpoints, c)
	for i, k := range keep {
		if !k {
			fmt.Println("drop", checkpoints[i].Step, idOf(checkpoints[i]))
		}
	}
	return keep, err
}

// idOf returns what tells one save of a step from another.
func idOf(ck training.Step) string { return fmt.Sprint(ck.Metrics) }

// deletable are the steps that the deleter removes.
func deletable(step int) bool { return step%10 == 7 }

func programOptions() training.Options {
	return training.Options{
		SaveDecision: training.FixedIntervalPolicy{Interval: 1},
		Preservation: reporting{training.AnyPreservationPolicy{training.LatestN{N: 1 + os.Getpid()%3}, training.EveryNSteps{Interval: 25}}},
	}
}

// trainOn goes on with a run for some steps. Now and then it replaces a step.
func trainOn(ctx context.Context, root string, round int) {
	c, err := training.New(ctx, root, programOptions())
	if err != nil {
		fmt.Println("wrong: new:", err)
		return
	}
	defer func() {
		if err := c.Close(); err != nil {
			fmt.Println("wrong: close:", err)
		}
	}()
	var s littleState
	step, err := c.Resume(ctx, &s)
	if err != nil || s.check(step) != nil {
		fmt.Println("wrong: resume:", step, err)
	}
	for i := range 20 {
		id := fmt.Sprintf("%d-%d-%d", os.Getpid(), round, i)
		options := []orbax.SaveOption{orbax.Metrics(id)}
		if err := c.Reload(ctx); err != nil {
			fmt.Println("wrong: reload:", err)
		}
		if latest, ok := c.Latest(); ok {
			step = latest.Step + 1
		}
		if rand.IntN(8) == 0 {
			step--
			options = append(options, orbax.Overwrite(), training.Force())
			fmt.Println("over", step, id)
		}
		saved := false
		if i%2 == 0 {
			saved, err = c.Save(ctx, step, littleStateOf(step), options...)
		} else {
			var r *training.Response
			if r, err = c.SaveAsync(ctx, step, littleStateOf(step), options...); err == nil {
				saved, err = r.Result(ctx)
			}
		}
		switch {
		case saved && err == nil:
			fmt.Println("saved", step, id)
		case !saved && allowed(err, orbax.ErrExist, orbax.ErrBusy, training.ErrOlderStep):
			time.Sleep(rand.N(5 * time.Millisecond))
		default:
			fmt.Println("wrong: save:", step, saved, err)
		}
	}
}

// readOn asks for the newest step in each way.
func readOn(ctx context.Context, root string, n int) {
	var s littleState
	switch n % 3 {
	case 0:
		ck, err := training.Latest(ctx, root, training.ReadOptions{Load: func(ctx context.Context, ck *orbax.Checkpoint) error {
			return ck.LoadInto(ctx, &s)
		}})
		if err == nil {
			err = s.check(ck.Step)
		}
		if err != nil {
			fmt.Println("wrong: latest:", err)
		}
	case 1:
		c, err := training.New(ctx, root, training.Options{})
		if err != nil {
			fmt.Println("wrong: new:", err)
			return
		}
		defer c.Close()
		step, err := c.Resume(ctx, &s)
		if err == nil {
			err = s.check(step)
		}
		if err == nil {
			_, err = c.Load(ctx, training.LatestStep)
		}
		if err != nil {
			fmt.Println("wrong: resume or load:", err)
		}
	case 2:
		listed, err := training.Steps(ctx, root, training.ReadOptions{})
		if err != nil || len(listed) == 0 {
			fmt.Println("wrong: steps:", listed, err)
		}
		for _, ck := range listed {
			err := orbax.LoadInto(ctx, ck.Path, &s)
			switch {
			case err == nil:
				err = s.check(ck.Step)
			case allowed(err, orbax.ErrNotExist, orbax.ErrBusy):
				err = nil // it was removed or replaced
			}
			if err != nil || ck.Err != nil {
				fmt.Println("wrong: load:", ck.Step, err, ck.Err)
			}
		}
	}
	if n%50 == 0 {
		fmt.Println("read", n)
	}
}

// cleanOn removes what dead writers have left.
func cleanOn(ctx context.Context, root string, _ int) {
	c, err := training.New(ctx, root, training.Options{})
	if err == nil {
		err = c.Close()
	}
	if err != nil {
		fmt.Println("wrong: clean:", err)
	}
}

// deleteOn deletes steps that are not the newest.
func deleteOn(ctx context.Context, root string, _ int) {
	c, err := training.New(ctx, root, training.Options{})
	if err != nil {
		fmt.Println("wrong: new:", err)
		return
	}
	defer c.Close()
	all := c.Checkpoints()
	for _, ck := range all[:max(len(all)-1, 0)] {
		if deletable(ck.Step) {
			err := c.Delete(ctx, ck.Step)
			if err != nil && !allowed(err, fs.ErrNotExist, orbax.ErrBusy) {
				fmt.Println("wrong: delete:", err)
			}
		}
	}
	time.Sleep(10 * time.Millisecond)
}
