package save

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/exchanged"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/storage"
)

// together is the target of a save by several processes. Process 0 owns the target of the
// checkpoint, and the others join its stage. The processes pass these phases:
//
//	plan     all save the same tree in the same way
//	claim    process 0 has claimed the place
//	open     process 0 has begun the stage
//	written  every process has written its part
//	commit   process 0 has merged the parts and committed the stage
//
// Process 0 passes the ticket of the stage on as soon as it has one. From then on the others
// can end the stage if process 0 is lost.
type together struct {
	owner   Target // used by process 0 alone
	place   Place
	group   *coord.Group
	op      *coord.Op
	ctx     context.Context // of the save
	phase   string          // the next one
	items   []*Item
	options string // of the save
	ticket  string
	joined  storage.Joined
	failed  error           // the failure of a phase, which all processes know
	watched context.Context // of the writing
	cancel  func()
}

// newTogether begins the operation. A process that fails before its target is made would
// leave the others waiting, so nothing may fail before.
func newTogether(ctx context.Context, c *Config, at Place, owner Target) *together {
	t := &together{owner: owner, place: at, group: c.Group, op: c.Op, ctx: ctx, phase: planPhase}
	if t.op == nil {
		t.op = c.Group.Begin("the save")
	}
	return t
}

const (
	planPhase    = "plan"
	claimPhase   = "claim"
	openPhase    = "open"
	writtenPhase = "written"
	commitPhase  = "commit"
)

func (t *together) first() bool { return t.group.Rank() == 0 }

// Check lets process 0 check the place.
func (t *together) Check(ctx context.Context, p *Plan) error {
	if t.first() {
		return t.owner.Check(ctx, p)
	}
	return nil
}

// Accept notes what is saved, and lets process 0 accept it.
func (t *together) Accept(ctx context.Context, p *Plan, item *Item) error {
	t.items = append(t.items, item)
	if t.first() {
		return t.owner.Accept(ctx, p, item)
	}
	return nil
}

// Claim compares the plans of all processes, and lets process 0 claim the place.
func (t *together) Claim(ctx context.Context, p *Plan) error {
	t.options = fmt.Sprintf("path %q, overwrite %t, marker %t, part %t, documents apart %t", p.Name, p.Config.Overwrite, p.Config.Marker, p.Config.Target != nil, p.Config.Unmerged)
	t.phase = claimPhase // if comparing fails, it fails in all processes
	if err := t.compare(ctx); err != nil {
		if errors.As(err, new(*coord.Error)) {
			t.failed = err
		}
		return err
	}
	var err error
	if t.first() {
		err = t.owner.Claim(ctx, p)
	}
	t.phase = openPhase
	return t.passTicket(ctx, claimPhase, err)
}

// passTicket ends a phase in which process 0 may have begun the stage.
func (t *together) passTicket(ctx context.Context, phase string, err error) error {
	var ticket []byte
	if t.first() && err == nil && t.owner.Stage() != nil {
		ticket = []byte(t.owner.Stage().Ticket())
	}
	ticket, t.failed = t.op.Exchange(ctx, phase, ticket, err, nil)
	if t.failed == nil {
		t.ticket = string(ticket)
	}
	return t.failed
}

// Open begins the stage or joins it. The context of the writing ends if another process
// fails.
func (t *together) Open(ctx context.Context, p *Plan) (_ context.Context, files storage.Files, err error) {
	if t.first() {
		_, files, err = t.owner.Open(ctx, p)
	}
	t.phase = writtenPhase
	if err = t.passTicket(ctx, openPhase, err); err != nil {
		return nil, nil, err
	}
	if !t.first() {
		t.joined, err = t.place.Store.Join(ctx, t.ticket)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("process 0 has ended the save, or this process does not see its directory (do all processes see the same file system?): %w", err)
		}
		if err != nil {
			return nil, nil, err
		}
		files = t.joined
	}
	t.watched, t.cancel = t.op.Watch(ctx)
	return t.watched, files, nil
}

// Publish makes what this process has written durable. Then process 0 merges the parts and
// publishes the checkpoint.
func (t *together) Publish(ctx context.Context, p *Plan) error {
	var digests []byte
	var err error
	if !t.first() {
		err = t.joined.Close(t.watched)
		t.joined = nil
		digests = p.Digests.Document()
	}
	all, err := t.agreeWritten(ctx, digests, err)
	if err != nil {
		return t.giveUp(ctx, err)
	}
	inPlace := false
	if t.first() {
		err = t.publish(ctx, p, all)
		inPlace = err == nil || errors.Is(err, fault.ErrInPlace)
		if inPlace { // the others get to know it, although ctx may have ended
			patient, cancel := exchanged.Patient(ctx)
			defer cancel()
			ctx = patient
		}
	}
	if err = t.op.Agree(ctx, commitPhase, err); err != nil && !t.first() {
		inPlace = t.published(err)
		err = errors.Join(err, t.revoke(ctx, err))
	}
	if err != nil && inPlace && !errors.Is(err, fault.ErrInPlace) {
		err = fmt.Errorf("%w, but: %w", fault.ErrInPlace, err)
	}
	return t.op.End(ctx, err)
}

// published reports whether process 0 has published the checkpoint although the phase of
// the commit has failed with err.
func (t *together) published(err error) bool {
	shared := new(coord.Error)
	return errors.As(err, &shared) && !shared.Unknown &&
		!slices.ContainsFunc(shared.Failures, func(f *coord.Failure) bool { return f.Rank == 0 })
}

// agreeWritten ends the phase of the writing and its watch.
func (t *together) agreeWritten(ctx context.Context, digests []byte, err error) ([][]byte, error) {
	if t.cancel != nil {
		// The context of the caller may have ended too.
		if err != nil && errors.As(context.Cause(t.watched), new(*coord.Error)) {
			err = coord.ErrStopped
		}
		t.cancel()
		t.cancel = nil
	}
	return t.op.Gather(ctx, writtenPhase, digests, err)
}

// publish merges what the processes have written, and publishes it. digests are those of
// the others.
func (t *together) publish(ctx context.Context, p *Plan, digests [][]byte) error {
	if err := t.merge(ctx, p, digests); err != nil {
		return t.owner.Abort(err)
	}
	return t.owner.Publish(ctx, p)
}

func (t *together) merge(ctx context.Context, p *Plan, digests [][]byte) error {
	for rank, doc := range digests {
		if rank == 0 || doc == nil {
			continue
		}
		d, err := layout.ParseDigests(doc)
		if err != nil {
			return fmt.Errorf("the digests of process %d: %w", rank, err)
		}
		p.Digests.AddAll(d)
	}
	stage := t.owner.Stage()
	root := t.place.Location
	root.Name = stage.Dir()
	for _, item := range p.Items {
		if item.plan.Merge == nil {
			continue
		}
		from := ckdir.NewReadDir(ckdir.Place{Root: root, Name: item.Name, Digests: &p.Digests, Engine: p.Engine})
		to, err := ckdir.NewWriteDir(ctx, p.Engine, stage, item.Name, p.Digests.Add)
		if err == nil {
			err = item.plan.Merge(ctx, from, to)
		}
		if err != nil {
			return fault.InItem(item.Name, err)
		}
	}
	return nil
}

// Stage returns the stage in process 0, and nil in the others.
func (t *together) Stage() storage.Stage { return t.owner.Stage() }

// Abort makes the other processes fail too, if they do not know the failure already, and
// removes what was written.
func (t *together) Abort(why error) error {
	ctx, cancel := exchanged.Patient(t.ctx)
	defer cancel()
	if t.failed != nil && errors.Is(why, t.failed) {
		return t.giveUp(ctx, why)
	}
	stopped := t.watched != nil && errors.As(context.Cause(t.watched), new(*coord.Error))
	var err error
	if t.phase == writtenPhase {
		_, err = t.agreeWritten(ctx, nil, why)
	} else {
		err = t.op.Agree(ctx, t.phase, why)
	}
	if !stopped && !errors.Is(err, why) { // many have failed, or this process does not know the outcome
		err = errors.Join(why, err)
	}
	return t.giveUp(ctx, err)
}

// giveUp ends the save of this process after a failure that all processes know. It returns
// the error of the save.
func (t *together) giveUp(ctx context.Context, why error) error {
	if t.cancel != nil {
		t.cancel()
	}
	if t.joined != nil {
		_ = t.joined.Close(context.WithoutCancel(ctx)) // its files are removed with the stage
	}
	if t.first() {
		why = t.owner.Abort(why)
	} else {
		why = errors.Join(why, t.revoke(ctx, why))
	}
	return t.op.End(ctx, why)
}

// revoke ends the stage of process 0, if that process is lost or late. Process 0 may only
// seem to be dead: once its stage is revoked it cannot commit any more. The first of the
// other processes does that for all of them.
func (t *together) revoke(ctx context.Context, why error) error {
	shared := new(coord.Error)
	if t.ticket == "" || !errors.As(why, &shared) || !shared.Unknown {
		return nil
	}
	lost := new(coord.LostError)
	if isLost := errors.As(why, &lost) && lost.Rank == 0; !isLost && !errors.Is(why, coord.ErrTimeout) {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	return t.op.Instead(ctx, 0, func() error {
		switch err := t.place.Store.Revoke(ctx, t.ticket); {
		case errors.Is(err, fs.ErrNotExist):
			return errors.New("process 0 had ended its save before: the checkpoint may be there")
		case err != nil:
			return fmt.Errorf("what process 0 was writing could not be removed: %w", err)
		}
		return nil
	})
}
