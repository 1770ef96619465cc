package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/multihost"
	"github.com/go-orbax/orbax/sharding"
)

// together is the cost of saves of one state by several processes, each of which holds a
// part of every array, next to those by one process.
type together struct{ caseResult }

// These are the numbers of processes, and of devices of each. JAX runs with as many.
const (
	processes       = 4
	devicesOfEach   = 2
	distanceOfIDs   = 2048 // between those of the devices of two processes, as in JAX
	devicesTogether = processes * devicesOfEach
)

func parseTogether(list string) ([]*together, error) {
	cases, err := parseCases(list)
	if err != nil {
		return nil, err
	}
	var all []*together
	for _, c := range cases {
		if c.shape()[0]%devicesTogether != 0 {
			return nil, fmt.Errorf("case %s: JAX does not split %d rows among %d devices", c.Name, c.shape()[0], devicesTogether)
		}
		all = append(all, &together{caseResult{Case: c}})
	}
	return all, nil
}

// measureTogether saves in every way in every round. In the first round a process of Go
// loads what was saved and compares it.
func (r *runner) measureTogether(ctx context.Context, t *together) error {
	if err := t.Case.writeData(ctx, r.data()); err != nil {
		return err
	}
	newRow := func(who string, by program, how string) *row {
		return &row{method: method{Group: groupSave, Who: who, work: work{by, opSave, how}}, Skipped: r.missing(by)}
	}
	t.Rows = []*row{
		newRow(whoOurs, ours, ""), newRow(whoTogether, ours, howTogether),
		newRow(whoJAX, orbaxPython, howJAX), newRow(whoOrbaxTogether, orbaxPython, howTogether), newRow(whoRawTogether, orbaxPython, howTogetherRaw),
	}
	turns := slices.Clone(t.Rows)
	for round := range r.rounds {
		for _, row := range turns {
			if row.Skipped != "" {
				continue
			}
			label := fmt.Sprintf("together: %s: round %d of %d: %v", t.Case.Name, round+1, r.rounds, row.method)
			err := r.sample(ctx, row, round, label, func() (sample, error) {
				defer func() {
					os.RemoveAll(r.written())
					settle()
				}()
				s, err := r.save(ctx, r.job(row.work, t.Case, r.written()))
				if err == nil && round == 0 {
					_, err = r.load(ctx, r.job(work{ours, opLoad, ""}, t.Case, r.written()), false)
				}
				return s, err
			})
			if err != nil {
				return err
			}
		}
		slices.Reverse(turns)
	}
	return nil
}

// together does a job in several processes. The sample has the longest of their times, and
// the sums of the rest.
func (r *runner) together(ctx context.Context, j job) (sample, error) {
	address, stop, err := coordinate(ctx, j.Program)
	if err != nil {
		return sample{}, err
	}
	defer stop()
	j.Size, j.Coordinator = processes, address
	j.Scratch = filepath.Join(r.dir, "scratch") // Orbax's processes warm up together
	defer os.RemoveAll(j.Scratch)
	jobs := make([]job, processes)
	for rank := range jobs {
		jobs[rank] = j
		jobs[rank].Rank = rank
		if j.Program == ours {
			jobs[rank].Scratch = filepath.Join(j.Scratch, fmt.Sprint(rank))
		}
		if err := os.MkdirAll(jobs[rank].Scratch, 0o777); err != nil {
			return sample{}, err
		}
	}
	samples, err := r.children(ctx, jobs, nil)
	all := samples[0]
	for _, s := range samples[1:] {
		all.Seconds = max(all.Seconds, s.Seconds)
		all.CPU += s.CPU
		all.Beyond += s.Beyond
	}
	return all, err
}

// coordinate returns the address at which processes of a program can agree. Process 0 of
// Orbax serves there itself; the port is one that is free now.
func coordinate(ctx context.Context, by program) (address string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	if by == ours {
		stop = serveDrivers(ctx, l, processes)
	} else if stop = func() {}; err == nil {
		err = l.Close()
	}
	return l.Addr().String(), stop, err
}

// prepareTogether saves the part of the state that this process holds.
func (j job) prepareTogether(ctx context.Context) (task, error) {
	group, err := dialDriver(j.Coordinator, j.Rank, j.Size)
	if err != nil {
		return task{}, err
	}
	state, err := j.part()
	return task{
		work: func(*sample) error {
			return orbax.Save(ctx, j.Path, state, append(j.saveOptions(), multihost.Together{Group: group})...)
		},
		check: func(*sample) error { return group.Close() },
	}, err
}

// part returns the state, of which this process holds the rows of its devices.
func (j job) part() (map[string]*array.Sharded, error) {
	mesh := sharding.Mesh{Shape: []int{devicesTogether}, AxisNames: []string{"x"}}
	for i := range devicesTogether {
		mesh.DeviceIDs = append(mesh.DeviceIDs, i/devicesOfEach*distanceOfIDs+i%devicesOfEach)
	}
	what := array.ShapeDtypeStruct{
		Shape: j.Case.shape(), DType: j.Case.dtype(), Sharding: sharding.Named(mesh, sharding.PartitionSpec{{"x"}}),
	}
	state := make(map[string]*array.Sharded, j.Case.Arrays)
	for i := range j.Case.Arrays {
		a, err := array.AllocSharded(what, sharding.Process{Rank: j.Rank, Size: j.Size})
		if err != nil {
			return nil, err
		}
		state[leafName(i)] = a
	}
	return state, j.Case.eachArray(j.Data, func() useArray {
		whole := make([]byte, j.Case.Bytes)
		return func(leaf string, read func([]byte) error) error {
			if err := read(whole); err != nil {
				return err
			}
			for _, s := range state[leaf].Shards() {
				copy(s.Array.Bytes(), whole[s.Offset[0]*(len(whole)/what.Shape[0]):])
			}
			return nil
		}
	})
}

func (t *together) write(out io.Writer) error {
	fmt.Fprintf(out, "\nSaved by %d processes together: %s\n\n", processes, t.Case.title())
	return t.writeRows(out, "seconds\tGB/s\tCPU s\tMiB beyond\tstored\tto Go\tto Orbax", t.cells)
}

// cells returns the row's cells in the table.
func (t *together) cells(r *row) []string {
	cells := t.caseResult.cells(r)
	if len(r.Samples) > 0 {
		cells[5] = r.ratio(t.row(groupSave, whoOurs)).text("%.3f")
		cells[6] = r.ratio(t.row(groupSave, whoOrbaxTogether)).text("%.3f")
	}
	return cells
}

// judge compares the times of large states with the goal.
func (t *together) judge(all *goals) {
	if t.Case.bulk() {
		many := t.row(groupSave, whoTogether)
		all.atMost(10, "together, "+t.Case.Name, fmt.Sprintf("save by %d processes, times that of one", processes), many.ratio(t.row(groupSave, whoOurs)).Median, 1.2)
	}
}
