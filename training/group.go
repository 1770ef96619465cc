package training

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/internal/config"
	"github.com/go-orbax/orbax/internal/exchanged"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/save"
)

// The processes of a group make one run together. Each call of a method that decides
// something, or that reads or writes the root, is an operation of the group, in which the
// process with rank 0 decides: it alone lists the root, asks the policies, and removes
// steps. The others get its decisions and its list of steps. A process that fails makes the
// operation fail in all of them.

// together returns what Options.Together says, which may be nil. Its type is not that of
// package multihost, because that imports the network, which a run of one process does not
// need.
func (o *Options) together() *config.Common {
	return &config.NewLoad([]orbax.CommonOption{o.Together}).Common
}

// group returns the group of a run, or nil if this process is alone.
func (o *Options) group() *coord.Group {
	g := o.together().Group
	if g == nil || g.Size() == 1 {
		return nil
	}
	return g
}

// errNotTogether is the error of another option in Options.Together.
var errNotTogether = fmt.Errorf("%w: Options.Together is not a multihost.Together", fault.ErrUsage)

// errTogether is the error of an option Together for a save; the group belongs to the run.
var errTogether = fmt.Errorf("%w: a run has one group; give it to Options.Together, and not to a save", fault.ErrUsage)

// errHandOver is the error of an option Together with HandOver.
var errHandOver = fmt.Errorf("%w: the loads of a run cannot hand over; load the step that Latest returns by orbax.Open and a method of the Checkpoint", fault.ErrUsage)

// groupSave returns the options of saves that come from the group of the run.
func (c *Checkpointer) groupSave(o *operation) []orbax.SaveCheckpointablesOption {
	if c.options.together().Group == nil {
		return nil
	}
	return []orbax.SaveCheckpointablesOption{c.options.Together, saveIn{o.save}}
}

// saveIn is an option of a save that makes it an operation that has begun.
type saveIn struct{ op *coord.Op }

func (o saveIn) ApplySave(c *save.Config) { c.Op = o.op }
func (saveIn) ForCheckpointables()        {}

// groupLoad returns the options of loads that come from the group of the run.
func (c *Checkpointer) groupLoad() []orbax.LoadCheckpointablesOption {
	if c.options.together().Group == nil {
		return nil
	}
	return []orbax.LoadCheckpointablesOption{c.options.Together}
}

// operation is a call of a method by all processes of the group. It has no effect if this
// process is alone.
type operation struct {
	c     *Checkpointer
	op    *coord.Op // nil if this process is alone
	ended bool
	step  int // that the call reads, or LatestStep
	// decides says that the call asks whether to save, so that a notice of preemption counts
	// from here on.
	decides bool
	// save is the operation in which the step is saved. It begins with this one, because
	// each call must begin the same number of operations in all processes, whether it
	// fails in some or not. entered says that other processes may be in it.
	save    *coord.Op
	entered bool
}

// operation begins an operation. A closed Checkpointer is alone. Everything that may fail
// comes after it, because the other processes have to know.
func (c *Checkpointer) operation(what string) *operation {
	o := &operation{c: c, step: LatestStep}
	if c.group != nil && c.checkOpen() == nil {
		o.op = c.group.Begin(what)
	}
	return o
}

// ofStep begins an operation on a step.
func (c *Checkpointer) ofStep(what string, step int) *operation {
	if step == LatestStep {
		return c.operation(what + " the newest step")
	}
	o := c.operation(fmt.Sprint(what, " step ", step))
	o.step = step
	return o
}

// savingOf begins the operation of a call that may save a step.
func (c *Checkpointer) savingOf(step int) *operation {
	o := c.ofStep("save", step)
	o.decides = true
	if o.op != nil {
		o.save = c.group.Begin(fmt.Sprint("the save of step ", step))
	}
	return o
}

// leads reports whether this process decides.
func (o *operation) leads() bool { return o.op == nil || o.c.group.Rank() == 0 }

// list returns the list of steps of the process that leads, for the others.
func (o *operation) list() (l listing) {
	if o.op != nil {
		l = o.c.steps.listing()
	}
	return l
}

// reread ends a phase in which the process that leads reads the root. It returns the list of
// steps, which is the same in all processes. That of the Checkpointer may be a newer one,
// because a save in the background may end at any moment.
func (o *operation) reread(ctx context.Context, phase string, err error) (stepList, error) {
	l, err := lead(ctx, o, phase, err, func() (listing, error) {
		if err := o.c.refreshAll(ctx, o.step); err != nil {
			return listing{}, err
		}
		return o.list(), nil
	})
	if o.op == nil || err != nil {
		return o.c.now(), err
	}
	o.c.steps.adopt(l)
	return l.list(&o.c.root), nil
}

// tell ends a phase in which the others get the list of steps, as it is, of the process that
// leads. It is for operations in the background too.
func (o *operation) tell(ctx context.Context, phase string) error {
	if o.op == nil {
		return nil
	}
	var own []byte
	if o.leads() {
		own = exchanged.Encode(o.list())
	}
	doc, err := o.op.Exchange(ctx, phase, own, nil, nil)
	if err != nil || o.leads() {
		return err
	}
	l, err := exchanged.Decode[listing](doc)
	o.c.steps.adopt(l)
	return err
}

// endSave ends the operation of a call that saves a step, or saves none because of err.
// Then other processes may have begun to save it, if this one does not know the outcome of
// the last phase.
func (o *operation) endSave(ctx context.Context, err error) {
	if shared := new(coord.Error); o.entered && errors.As(err, &shared) && shared.Unknown && shared.What == o.op.What() {
		o.save.End(ctx, err)
	}
	o.end(ctx, err)
}

// end ends the operation, and returns err.
func (o *operation) end(ctx context.Context, err error) error {
	if o.op == nil || o.ended {
		return err
	}
	o.ended = true
	return o.op.End(ctx, err)
}

// message is what a process sends in a phase that lead ends.
type message struct {
	// Preempted says that the notice has come; see preemption. The outcome has it if one
	// process has it.
	Preempted bool            `json:"preempted,omitempty"`
	Value     json.RawMessage `json:"value,omitempty"` // of rank 0
}

// lead ends a phase. err is the outcome so far in this process. If all processes have none,
// the process that leads calls decide, and all return its results. lead also spreads the
// notice of preemption.
func lead[T any](ctx context.Context, o *operation, phase string, err error, decide func() (T, error)) (v T, _ error) {
	if o.op == nil {
		if err == nil {
			v, err = decide()
		}
		return v, err
	}
	var panicked any // by a policy of the program
	merge := func(docs [][]byte) ([]byte, error) {
		all, err := mergeNotices(docs)
		if err == nil && o.leads() {
			o.agreeNotice(all.Preempted)
			panicked = caught(func() { v, err = decide() })
			if all.Value = exchanged.Encode(v); panicked != nil {
				err = errPanicked
			}
		}
		return exchanged.Encode(all), err
	}
	doc, err := o.op.Exchange(ctx, phase, exchanged.Encode(message{Preempted: o.c.preemption.own()}), err, merge)
	if panicked != nil {
		o.end(ctx, errPanicked)
		panic(panicked)
	}
	if err != nil {
		return v, err
	}
	m, err := exchanged.Decode[message](doc)
	if err != nil {
		return v, err
	}
	if o.leads() {
		return v, nil
	}
	o.agreeNotice(m.Preempted)
	return exchanged.Decode[T](m.Value)
}

// agreeNotice records the notice of preemption of all processes, if the call decides whether
// to save. Other calls do not, because a loop may ask for the notice after a save and a call
// of another kind: that save would not have been for the notice.
func (o *operation) agreeNotice(preempted bool) {
	if o.decides {
		o.c.preemption.agree(preempted)
	}
}

// caught calls f and returns with what it panics.
func caught(f func()) (panicked any) {
	defer func() { panicked = recover() }()
	f()
	return nil
}

// mergeNotices returns a message with the notice if one of docs has it.
func mergeNotices(docs [][]byte) (all message, err error) {
	for _, doc := range docs {
		m, err := exchanged.Decode[message](doc)
		if err != nil {
			return all, err
		}
		all.Preempted = all.Preempted || m.Preempted
	}
	return all, nil
}
