package training_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/orbaxtest"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/training"
)

// history is what the programs have printed.
type history struct {
	saved   map[int][]string // ids of saves that were told to be there, by step
	written map[int][]string // these, and those that were to replace a step
	dropped map[string]bool  // ids that a policy did not keep
	count   int              // saves
	reads   int
	wrong   []string
}

func (h *history) take(line string) {
	what, rest, _ := strings.Cut(line, " ")
	var step int
	var id string
	fmt.Sscan(rest, &step, &id)
	switch what {
	case "saved":
		h.saved[step] = append(h.saved[step], id)
		h.written[step] = append(h.written[step], id)
		h.count++
	case "over":
		h.written[step] = append(h.written[step], id)
	case "drop":
		h.dropped[id] = true
	case "read":
		h.reads++
	case "PASS", "":
	default:
		h.wrong = append(h.wrong, line)
	}
}

// programs runs programs on a root, which are named as in the children, until so many
// saves have succeeded, and kills a trainer, and starts another, after every so many.
func programs(t *testing.T, root string, saves, killEvery int, modes ...string) *history {
	t.Helper()
	if err := orbax.Save(t.Context(), filepath.Join(root, "0"), littleStateOf(0)); err != nil {
		t.Fatal(err)
	}
	h := &history{saved: map[int][]string{}, written: map[int][]string{}, dropped: map[string]bool{}}
	type line struct {
		from int
		text string
		end  bool
	}
	lines := make(chan line, 1<<16)
	running, killed := map[int]*orbaxtest.Process{}, map[int]bool{}
	var trainers []int
	start := func(mode string) {
		child := startChild(t, mode, root)
		running[child.Process.Pid] = child
		if mode == "trainer" {
			trainers = append(trainers, child.Process.Pid)
		}
		go func() {
			for text := range child.Lines {
				lines <- line{child.Process.Pid, text, false}
			}
			lines <- line{child.Process.Pid, "", true}
		}()
	}
	for _, mode := range modes {
		start(mode)
	}
	stop := func() {
		if err := os.WriteFile(root+".stop", nil, 0o644); err != nil {
			t.Error(err)
		}
	}
	late := time.AfterFunc(5*time.Minute, stop)
	defer late.Stop()
	kills := 0
	for len(running) > 0 {
		l := <-lines
		if l.end {
			if code := running[l.from].Wait(); code != 0 && !killed[l.from] {
				h.wrong = append(h.wrong, fmt.Sprint("a program ended with exit code ", code))
			}
			delete(running, l.from)
			continue
		}
		before := h.count
		h.take(l.text)
		if h.count == before {
			continue
		}
		if h.count == saves {
			stop()
		} else if killEvery > 0 && h.count%killEvery == 0 && h.count < saves {
			i := rand.IntN(len(trainers))
			victim := running[trainers[i]]
			killed[trainers[i]] = true
			trainers = append(trainers[:i], trainers[i+1:]...)
			if victim != nil {
				victim.Process.Kill()
				kills++
			}
			start("trainer")
		}
	}
	t.Logf("%d saves of %d steps, %d dropped, %d times 50 reads, %d kills", h.count, len(h.saved), len(h.dropped), h.reads, kills)
	if h.count < saves {
		t.Errorf("%d saves have succeeded in 5 minutes", h.count)
	}
	return h
}

// check demands that each save that was told as done is there, unless a policy that
// knew of it has dropped it, or another save has replaced it.
func (h *history) check(t *testing.T, root string) {
	t.Helper()
	for i, w := range h.wrong {
		if i == 10 {
			t.Errorf("and %d more", len(h.wrong)-i)
			break
		}
		t.Error(w)
	}
	c := openRun(t, root, training.Options{})
	if err := c.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	there := map[int]string{}
	for _, ck := range c.Checkpoints() {
		there[ck.Step] = idOf(ck)
		var s littleState
		err := orbax.Verify(t.Context(), ck.Path)
		if err == nil {
			err = c.LoadInto(t.Context(), ck.Step, &s)
		}
		if err == nil {
			err = s.check(ck.Step)
		}
		if err != nil || ck.Err != nil {
			t.Error(err, ck.Err)
		}
	}
	for step, ids := range h.saved {
		now, is := there[step]
		var dropped, replaced bool
		for _, id := range h.written[step] {
			dropped = dropped || h.dropped[id]
			replaced = replaced || id == now
		}
		switch {
		case is && replaced, !is && dropped, deletable(step):
		default:
			t.Errorf("step %d was saved as %v, written as %v; there is %t %q", step, ids, h.written[step], is, now)
		}
		if len(h.written[step]) == 1 && is != !h.dropped[ids[0]] && !deletable(step) {
			t.Errorf("step %d is there %t, dropped %t", step, is, h.dropped[ids[0]])
		}
	}
	if left := leftovers(t, root); len(left) > 0 {
		t.Errorf("left %q", left)
	}
}

// Several programs on one root lose nothing, and whoever asks for a step finds one.
func TestPrograms(t *testing.T) {
	roots := map[string]string{"disk": t.TempDir()}
	if dir, err := os.MkdirTemp("/dev/shm", "programs"); err == nil {
		t.Cleanup(func() { os.RemoveAll(dir) })
		roots["memory"] = dir
	}
	saves := testenv.Pick(map[string]int{"disk": 500, "memory": 2000}, map[string]int{"disk": 8, "memory": 16})
	for where, root := range roots {
		for name, test := range map[string]struct {
			killEvery int
			modes     []string
		}{
			"trainer and reader":                  {0, []string{"trainer", "reader"}},
			"trainer and cleaner":                 {0, []string{"trainer", "cleaner"}},
			"two trainers and a reader":           {0, []string{"trainer", "trainer", "reader"}},
			"trainer, deleter and reader":         {0, []string{"trainer", "deleter", "reader"}},
			"two trainers that die and a cleaner": {10, []string{"trainer", "trainer", "cleaner"}},
			"a trainer that dies and a reader":    {10, []string{"trainer", "reader"}},
		} {
			t.Run(name+" on "+where, func(t *testing.T) {
				root := filepath.Join(root, strings.ReplaceAll(name, " ", "-"))
				programs(t, root, saves[where], test.killEvery, test.modes...).check(t, root)
			})
		}
	}
}
