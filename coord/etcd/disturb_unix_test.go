//go:build unix

package etcd_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// disturbance disturbs one process, or two, in a save.
type disturbance struct {
	kind   string // kill, stop, cut or silence
	way    string // new, over or marker
	victim int
	second int           // this process is killed later; -1 if none is
	delay  time.Duration // until then
	after  time.Duration // since the orders; if pause is 0
	pause  int           // before this call of the victim's store
	resume string        // the stopped process continues before, in or after the next save
}

func (f *killField) draw() disturbance {
	r := f.r
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	d := disturbance{
		kind: pick("kill", "kill", "stop", "stop", "cut", "silence"), way: pick("over", "over", "over", "new", "marker"),
		second: -1, resume: pick("before", "in", "after"),
	}
	if r.IntN(2) == 0 {
		d.victim = 1 + r.IntN(savers-1)
	}
	if r.IntN(2) == 0 {
		d.after = time.Duration(r.Float64() * 1.1 * float64(f.usual))
	} else {
		d.pause = 1 + r.IntN([]int{40, 10, 10, 10}[d.victim])
	}
	if r.IntN(8) == 0 {
		d.second = (d.victim + 1 + r.IntN(savers-1)) % savers
		d.delay = time.Duration(r.Float64() * 1.5 * float64(ttl))
	}
	return d
}

func (d disturbance) String() string {
	return fmt.Sprintf("%s process %d (and %d) of a save %s, after %v, call %d", d.kind, d.victim, d.second, d.way, d.after, d.pause)
}

// disturb disturbs a save, and checks all that must hold then.
func (f *killField) disturb(n int64) {
	d := f.draw()
	f.what = fmt.Sprintf("run %d: %v", n, d)
	if d.way != "over" {
		if err := os.RemoveAll(f.path); err != nil {
			f.Errorf("%v", err)
		}
		f.version = 0
	}
	f.join()
	if f.Failed() {
		return
	}
	f.last++
	o := order{Do: "save", Path: f.path, Version: f.last, Overwrite: d.way == "over", Marker: d.way == "marker"}
	for rank, p := range f.all {
		o.Pause = 0
		if rank == d.victim {
			o.Pause = d.pause
		}
		p.orders.Encode(o)
	}
	answers := map[int]answer{}
	if d.pause == 0 {
		time.Sleep(d.after)
	} else {
		a, err := f.all[d.victim].next(2 * patience)
		if err != nil {
			f.Errorf("the victim: %v", err)
			return
		}
		if a.At == "" { // the save has fewer calls
			answers[d.victim] = a
		}
		d.way += " " + strings.Fields(a.At + " ended")[0]
	}
	victim := f.all[d.victim]
	f.act(d)
	hit := time.Now()
	if _, ended := answers[d.victim]; d.pause > 0 && !ended && d.kind != "kill" {
		victim.orders.Encode(order{Do: "go"})
	}
	lost := []int{d.victim}
	if d.second >= 0 {
		lost = append(lost, d.second)
		second := f.all[d.second]
		timer := time.AfterFunc(d.delay, func() { second.cmd.Process.Kill() })
		defer timer.Stop()
	}
	survivors := slices.DeleteFunc(slices.Clone(everySaver), func(rank int) bool { return slices.Contains(lost, rank) })
	longest := f.gather(survivors, answers, hit)
	if f.Failed() {
		return
	}
	committed, phase := f.judge(survivors, lost, answers)
	if d.second >= 0 {
		f.all[d.second].end()
		f.all[d.second] = nil
	}
	failed := phase != "all succeed"
	var aside *saverProcess
	switch {
	case d.kind == "kill":
		victim.end()
		f.all[d.victim] = nil
	case d.kind == "stop" && failed && d.resume != "before":
		aside, f.all[d.victim] = victim, nil
		asideLink := f.links[d.victim]
		f.links[d.victim] = nil
		defer asideLink.close()
		defer victim.end()
	default:
		f.wantHarmless(d, victim, committed, answers)
	}
	left := f.left()
	// The survivors cannot end the stage of process 0 before they know its ticket. After the
	// commit, process 0 removes what it has replaced.
	stays := slices.Contains(lost, 0) && (slices.Contains([]string{"plan", "claim"}, phase) || committed)
	if len(left) > 0 && !stays && d.second < 0 {
		f.Errorf("%q are left; the survivors have failed in phase %s", left, phase)
	}
	f.each(everySaver, f.leave)
	if f.Failed() {
		return
	}
	if aside != nil && !stays && d.resume == "in" {
		timer := time.AfterFunc(time.Duration(f.r.Float64()*float64(f.usual)), func() { victim.cmd.Process.Signal(syscall.SIGCONT) })
		defer timer.Stop()
	}
	if busy := f.saveAll(); busy {
		if aside == nil || !stays {
			f.Errorf("the next save is refused, because another one is at work")
			return
		}
		f.wantHarmless(d, aside, committed, answers)
		f.dismiss(aside, d.victim)
		aside = nil
		phase += ", busy until it continues"
		f.each(everySaver, f.leave)
		f.saveAll()
	}
	if aside != nil {
		f.wantHarmless(d, aside, false, answers)
		f.dismiss(aside, d.victim)
		f.wantVersion(f.version)
	}
	who := "process 0"
	if d.victim > 0 {
		who = "another"
	}
	outcome := "old"
	if committed {
		outcome = "new"
	}
	f.table.add(fmt.Sprintf("%-8s%-10s %-12s -> %s", d.kind, who, phase, outcome), longest)
}

// gather waits for the answers of the survivors, and returns how long the last one took.
func (f *killField) gather(survivors []int, answers map[int]answer, hit time.Time) (longest time.Duration) {
	var mu sync.Mutex
	f.each(survivors, func(rank int) {
		a, err := f.all[rank].next(patience + 3*ttl)
		if err != nil {
			f.Errorf("process %d: %v", rank, err)
		}
		mu.Lock()
		defer mu.Unlock()
		answers[rank] = a
		longest = max(longest, time.Since(hit))
	})
	return longest
}

// judge checks the checkpoint and the errors of the survivors, and returns the phase in
// which they have failed.
func (f *killField) judge(survivors, lost []int, answers map[int]answer) (committed bool, phase string) {
	version, err := f.found()
	if err != nil || version != f.version && version != f.last {
		f.Errorf("the checkpoint has version %d, %v; it was %d, and %d was saved", version, err, f.version, f.last)
	}
	committed, phase = version == f.last, "all succeed"
	f.version = version
	successes := 0
	for _, rank := range survivors {
		a := answers[rank]
		if a.Err == "" {
			successes++
			if !committed {
				f.Errorf("process %d succeeds, but the checkpoint is not there", rank)
			}
			continue
		}
		i := slices.IndexFunc(a.Failures, func(e failed) bool { return e.Lost && slices.Contains(lost, e.Rank) })
		if i < 0 {
			f.Errorf("process %d: %s; want that one of %d is lost", rank, a.Err, lost)
			continue
		}
		phase = a.Failures[i].Phase
		if a.InPlace && !committed || committed && !a.InPlace && !a.Unknown {
			f.Errorf("process %d: %s; that the checkpoint is there is %t", rank, a.Err, committed)
		}
	}
	if successes > 0 && successes < len(survivors) {
		f.Errorf("%d of %d succeed: %v", successes, len(survivors), answers)
	}
	return committed, phase
}

// wantHarmless lets a victim that lives continue. It fails unless the checkpoint stays as it
// is, and the victim gets an error if the checkpoint is not there. If there is none, nothing
// may be left at its path: process 0 removes what it had begun there before the others knew
// its ticket.
func (f *killField) wantHarmless(d disturbance, victim *saverProcess, committed bool, answers map[int]answer) {
	before, left := f.files(), f.left()
	if d.kind == "stop" {
		victim.cmd.Process.Signal(syscall.SIGCONT)
	}
	a, ended := answers[d.victim]
	if !ended {
		var err error
		if a, err = victim.next(patience + 3*ttl); err != nil {
			f.Errorf("the victim: %v", err)
			return
		}
	}
	if a.Err == "" && !committed {
		f.Errorf("the victim succeeds")
	}
	if f.version == 0 {
		clear(before)
	}
	if after := f.files(); !maps.Equal(before, after) {
		f.Errorf("the victim has changed the checkpoint: the files were %q, and are %q", slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(after)))
	}
	for _, name := range f.left() {
		if !slices.Contains(left, name) {
			f.Errorf("the victim has left %s", name)
		}
	}
}

// act lets the disturbance happen.
func (f *killField) act(d disturbance) {
	p := f.all[d.victim]
	switch d.kind {
	case "kill":
		p.cmd.Process.Signal(syscall.SIGKILL)
	case "stop":
		p.cmd.Process.Signal(syscall.SIGSTOP)
	case "cut":
		f.links[d.victim].stop()
	case "silence":
		f.links[d.victim].silence()
	}
}
