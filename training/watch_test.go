package training

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
)

// at returns a step of a listing, committed at second, or damaged if that is 0.
func at(step, second int) Step {
	ck := Step{Step: step, Path: fmt.Sprint(step), Time: time.Unix(int64(second), 0)}
	if second == 0 {
		ck.Err = errors.New("damaged")
	}
	return ck
}

func TestNews(t *testing.T) {
	type look struct {
		steps []Step
		err   error
		want  string // what is told
	}
	steps := func(want string, steps ...Step) look { return look{steps: steps, want: want} }
	fails := func(want string, err error) look { return look{err: err, want: want} }
	disk := errors.New("disk on fire")
	moved := at(7, 1)
	moved.Path = "ck_7"
	for name, looks := range map[string][]look{
		"a run": {
			fails("", fault.ErrNotExist), fails("", fmt.Errorf("root: %w", fault.ErrNotExist)), steps(""),
			steps("1", at(1, 1)), steps("", at(1, 1)), steps("2", at(1, 1), at(2, 2)),
			steps("9", at(5, 3), at(7, 4), at(9, 5)), steps("", at(9, 5)),
		},
		"rolled back": {
			steps("9", at(5, 3), at(9, 5)), steps("5", at(5, 3)), steps("6", at(5, 3), at(6, 6)),
			steps(""), fails("", fault.ErrNotExist), steps("6", at(6, 7)),
		},
		"gone and back": {steps("9", at(9, 5)), steps(""), steps("", at(9, 5))},
		"overwritten":   {steps("7", at(7, 1)), steps("7", at(7, 2)), steps(""), steps("7", at(7, 3)), steps("", at(7, 3))},
		"renamed":       {steps("7", at(7, 1)), steps("7", moved)},
		"damaged": {
			steps("1", at(1, 1), at(2, 0)), steps("", at(1, 1), at(2, 0), at(3, 0)),
			steps("2", at(1, 1), at(2, 2), at(3, 0)), // mended
			steps("", at(1, 1), at(2, 0)),            // no reason to go back: it was loaded whole
			steps("4", at(1, 1), at(2, 0), at(4, 4)),
		},
		"nothing but damaged": {
			steps("no step is intact; of the newest, 2: damaged", at(1, 0), at(2, 0)), steps("", at(1, 0), at(2, 0)),
			steps("no step is intact; of the newest, 3: damaged", at(1, 0), at(3, 0)),
			steps("1", at(1, 1), at(3, 0)), steps("no step is intact; of the newest, 3: damaged", at(3, 0)),
		},
		"a file of the program is missing": {steps("1", at(1, 1)), fails("file does not exist", fs.ErrNotExist), fails("", fs.ErrNotExist)},
		"failures": {
			fails("disk on fire", disk), fails("", disk), fails("disk is gone", errors.New("disk is gone")),
			steps("1", at(1, 1)), fails("disk on fire", disk), steps("", at(1, 1)), fails("disk on fire", disk),
			fails("", fault.ErrNotExist), fails("disk on fire", disk),
		},
	} {
		t.Run(name, func(t *testing.T) {
			var n news
			for i, l := range looks {
				ck, err, is := n.in(l.steps, l.err)
				got := ""
				switch {
				case is && err != nil:
					got = err.Error()
				case is:
					got = fmt.Sprint(ck.Step)
				}
				if got != l.want {
					t.Fatalf("look %d tells %q, want %q", i, got, l.want)
				}
			}
		})
	}
}

func TestWatchTellsTheNewestInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		// A step every 700 ms from the third second on; each load takes 5 s.
		list := func() (all []Step, err error) {
			for s := 1; time.Since(start) >= 3*time.Second+time.Duration(s)*700*time.Millisecond; s++ {
				all = append(all, at(s, s))
			}
			if all == nil {
				return nil, fault.ErrNotExist
			}
			return all, nil
		}
		var got []int
		for ck, err := range watch(ctx, time.Second, list) {
			if err != nil {
				t.Fatal(err)
			}
			if now, _ := list(); now[len(now)-1].Step != ck.Step {
				t.Errorf("step %d is told when the newest is %d", ck.Step, now[len(now)-1].Step)
			}
			got = append(got, ck.Step)
			time.Sleep(5 * time.Second)
		}
		if len(got) < 10 || !slices.IsSorted(got) || got[0] != 1 {
			t.Errorf("told %v", got)
		}
		if passed := time.Since(start); passed < time.Minute || passed > time.Minute+5*time.Second {
			t.Errorf("ended after %v", passed)
		}
	})
}

func TestWatchEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks := 0
		list := func() ([]Step, error) { looks++; return []Step{at(looks, looks)}, nil }
		for ck := range watch(t.Context(), time.Hour, list) {
			if ck.Step == 3 {
				break
			}
		}
		if looks != 3 {
			t.Errorf("looked %d times", looks)
		}
		// A context that ends while the root is read is not news, but the end.
		ctx, cancel := context.WithCancel(t.Context())
		for ck, err := range watch(ctx, time.Hour, func() ([]Step, error) { cancel(); return nil, ctx.Err() }) {
			t.Errorf("told %v, %v", ck, err)
		}
		// One that ends meanwhile ends the wait.
		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		for range watch(ctx, time.Hour, func() ([]Step, error) { return nil, nil }) {
			t.Error("told something")
		}
		if time.Since(start) != time.Minute {
			t.Errorf("ended after %v", time.Since(start))
		}
	})
}
