package training

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"path"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/go-orbax/orbax/internal/config"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/save"
	"github.com/go-orbax/orbax/storage"
)

// Mirror configures a second root of a run, usually in an object store, to which finished
// steps are copied in the background; see the package documentation. Saves write to the
// root of the run, at its speed, and never wait for the mirror.
type Mirror struct {
	// Root is the root of the mirror, a path or a URL; "" means that the run has no
	// mirror. It must not be the root of the run or inside it, nor contain it.
	Root string
	// Store, if not nil, is the store in which Root is a name.
	Store storage.Store
	// Preservation decides which steps the mirror has, whatever Options.Preservation says
	// about the root of the run; nil means PreserveAll{}. It is asked about the steps of
	// both: those that it does not keep are not copied, and are removed from the mirror.
	// The newest step is always copied.
	Preservation PreservationPolicy
	// MaxHeld is the largest number of steps that stay in the root of the run only
	// because they are not in the mirror yet; 0 means 10. If there are more, because the
	// mirror is slow or out of reach, the oldest of them is removed without a copy. If the
	// disk has no room for a save, all of them are. The log and MirrorStatus report that.
	MaxHeld int
	// Patience is how long Close waits for a mirror to which no bytes move; 0 means a
	// minute. With a negative one, such as -1, Close does not wait at all. What is not copied by then is left to
	// the next Checkpointer of the run.
	Patience time.Duration
}

func (m *Mirror) validate() error {
	if m.Root == "" && (m.Store != nil || m.Preservation != nil || m.MaxHeld != 0 || m.Patience != 0) {
		return fmt.Errorf("%w: the Mirror has no Root", fault.ErrUsage)
	}
	if m.Preservation != nil {
		if err := validate(m.Preservation); err != nil {
			return err
		}
	}
	return notNegative("Mirror", "MaxHeld", m.MaxHeld)
}

// MirrorStatus says how far a mirror is behind.
type MirrorStatus struct {
	// Newest is the newest intact step in the mirror as far as is known, or -1.
	Newest int
	// Waiting are the steps, ascending, that the mirror is to have and does not have yet.
	Waiting []int
	// Bytes is the number of bytes of these steps that have not been copied.
	Bytes int64
	// Err is the error of the last attempt to reach the mirror or to copy a step, or nil
	// if that succeeded. The attempt is repeated.
	Err error
	// Refused has the errors of steps that are not copied: damaged ones match
	// orbax.ErrCorrupt, and those in whose place the mirror has another step match
	// orbax.ErrExist.
	Refused map[int]error
	// GivenUp is the number of steps that were removed before the mirror had them; see
	// [Mirror.MaxHeld].
	GivenUp int
}

// MirrorStatus returns how far the mirror is behind. It reads nothing from the mirror.
// Without a mirror it returns a status in which nothing waits.
func (c *Checkpointer) MirrorStatus() MirrorStatus {
	if c.mirror == nil {
		return MirrorStatus{Newest: noStep}
	}
	return c.mirror.status()
}

// WaitMirror waits until the mirror has every step that it is to have now, and no other
// step; one that is claimed by a writer that may be dead is removed later. It returns the errors of steps that are not copied; see [MirrorStatus]. If ctx
// ends first, WaitMirror returns an error that matches that of ctx and says what is
// missing, and the copying goes on. Without a mirror it returns nil.
func (c *Checkpointer) WaitMirror(ctx context.Context) error {
	if c.mirror == nil {
		return nil
	}
	if err := c.checkOpen(); err != nil {
		return c.root.wrap("wait for the mirror", noStep, err)
	}
	return c.root.wrap("wait for the mirror", noStep, c.mirror.wait(ctx))
}

// mirror is the second root of a run. One goroutine copies steps to it; see run.
type mirror struct {
	c         *Checkpointer
	options   Mirror
	root      root
	steps     steps
	log       *slog.Logger
	overwrite bool // every save of the run overwrites

	stop  context.CancelFunc
	wake  chan struct{} // has a value if there may be something to do
	ended chan struct{} // closed when run has ended

	mu        sync.Mutex
	asked     int           // number of calls of notify
	done      int           // value of asked for which everything has been done
	changed   chan struct{} // closed when something below or above changes
	moved     time.Time     // when bytes were last copied, or something else succeeded
	waiting   []Step
	sizes     map[string]int64 // of waiting steps, by path
	copying   *copying
	barred    map[int]bool    // steps that are being deleted
	same      map[string]Step // by path: steps of the run that the mirror is known to have
	replace   map[string]bool // by path: steps of the run that were saved with Overwrite
	refused   map[string]refusal
	err       error
	givenUp   int
	described bool // the metadata of the root are in the mirror
	// tree is the name of the main tree of the newest step, as New has found it.
	tree    string
	treeErr error
}

// copying is the step that is being copied.
type copying struct {
	step   Step
	cancel context.CancelFunc
	copied int64
	ended  chan struct{}
}

// refusal says why a step is not copied, as long as it is unchanged.
type refusal struct {
	step Step
	err  error
}

// errMirrorTogether is the error of a group that would have a mirror.
var errMirrorTogether = fmt.Errorf("%w: a run of several processes cannot have a mirror; leave Mirror or Together out", fault.ErrUsage)

// newMirror returns the mirror of a run, or nil if it has none.
func newMirror(ctx context.Context, c *Checkpointer, open openOption) (*mirror, error) {
	o := c.options.Mirror
	if err := o.validate(); err != nil || o.Root == "" {
		return nil, err
	}
	if c.group != nil {
		return nil, errMirrorTogether
	}
	o.Preservation = cmp.Or[PreservationPolicy](o.Preservation, PreserveAll{})
	o.MaxHeld = cmp.Or(o.MaxHeld, 10)
	o.Patience = cmp.Or(o.Patience, time.Minute)
	root, err := newRoot(ctx, o.Root, o.Store, c.options.StepNameFormat, open)
	if err != nil {
		return nil, fmt.Errorf("the mirror: %w", err)
	}
	if err := apart(c.root.at, root.at); err != nil {
		return nil, err
	}
	m := &mirror{
		c: c, options: o, root: root,
		log:       c.log.With("mirror", o.Root),
		overwrite: save.NewConfig(c.options.SaveOptions).Overwrite,
		wake:      make(chan struct{}, 1),
		ended:     make(chan struct{}),
		changed:   make(chan struct{}),
		sizes:     map[string]int64{},
		barred:    map[int]bool{},
		same:      map[string]Step{},
		replace:   map[string]bool{},
		refused:   map[string]refusal{},
	}
	m.root.finishes = true
	m.steps.init(&m.root)
	return m, nil
}

// apart refuses two roots of which one is in the other.
func apart(a, b storage.Location) error {
	pathA, diskA := a.LocalPath()
	pathB, diskB := b.LocalPath()
	one := diskA && diskB
	switch {
	case one:
	case reflect.ValueOf(a.Store).Comparable() && reflect.ValueOf(b.Store).Comparable() && a.Store == b.Store:
		one, pathA, pathB = true, path.Clean("/"+a.Name), path.Clean("/"+b.Name)
	case strings.Contains(a.Called, "://") && strings.Contains(b.Called, "://"): // each has a store of its own
		one, pathA, pathB = true, placeOf(a.Called), placeOf(b.Called)
	}
	if one && (within(pathA, pathB) || within(pathB, pathA)) {
		return fmt.Errorf("%w: the mirror %s and the root of the run are one directory, or one is in the other", fault.ErrUsage, b)
	}
	return nil
}

// placeOf returns where a URL leads, however it is written: without its query, which chooses
// the way to a bucket.
func placeOf(address string) string {
	u, err := url.Parse(address)
	if err != nil { // it has been opened, so this does not happen
		return address
	}
	return strings.ToLower(u.Scheme+"://"+u.Host) + path.Clean("/"+u.Path)
}

// within reports whether a path is that of a directory or below it.
func within(name, dir string) bool {
	return name == dir || strings.HasPrefix(name, strings.TrimRight(dir, `/\`)) && strings.ContainsAny(name[len(strings.TrimRight(dir, `/\`)):][:1], `/\`)
}

// prepare reads the list of the mirror's steps. The run has to know them: it continues
// from the newest, and overwrites none by accident. prepare returns the custom metadata of
// the mirror, if it has some.
func (m *mirror) prepare(ctx context.Context) (custom map[string]any, err error) {
	err = m.root.check(ctx)
	if err == nil {
		err = m.steps.refresh(ctx)
	}
	if err == nil {
		err = mayBegin(&m.steps, m.c.options.RunsInside)
	}
	if newest, none := newestSound(m.steps.all()); err == nil && none == nil {
		m.tree, m.treeErr = opened(ctx, newest.Path, m.root.open, mainTree)
	}
	if err == nil {
		custom, err = m.root.readMetadata(ctx)
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fault.ErrCorrupt) {
		err = nil
	}
	if err != nil {
		return nil, m.unknown(err)
	}
	return custom, nil
}

// unknown is the error of a mirror that cannot be listed.
func (m *mirror) unknown(err error) error {
	return fmt.Errorf("the mirror %s cannot be read, so that it is not known whether it has a newer step: %w", storage.Location{Called: m.root.name}, m.root.called(err))
}

// begin begins to copy.
func (m *mirror) begin() {
	ctx, stop := context.WithCancel(context.Background())
	m.stop, m.moved = stop, time.Now()
	m.asked = 1
	go m.run(ctx)
}

// notify says that there may be something to do.
func (m *mirror) notify() {
	m.mu.Lock()
	m.asked++
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// update changes the state of the mirror, and wakes those who wait for a change.
func (m *mirror) update(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *mirror) status() MirrorStatus {
	newest, err := newestSound(m.steps.all())
	m.mu.Lock()
	defer m.mu.Unlock()
	s := MirrorStatus{Newest: newest.Step, Err: m.err, GivenUp: m.givenUp}
	if err != nil {
		s.Newest = noStep
	}
	for _, at := range m.waiting {
		s.Waiting = append(s.Waiting, at.Step)
		s.Bytes += m.sizes[at.Path]
		if m.copying != nil && m.copying.step.Path == at.Path {
			s.Bytes -= min(m.copying.copied, m.sizes[at.Path])
		}
	}
	for _, r := range m.refused {
		if s.Refused == nil {
			s.Refused = map[int]error{}
		}
		s.Refused[r.step.Step] = r.err
	}
	return s
}

// wait waits until everything has been done that there was to do when it was called.
func (m *mirror) wait(ctx context.Context) error {
	m.mu.Lock()
	asked := m.asked
	m.mu.Unlock()
	for {
		m.mu.Lock()
		done, changed := m.done >= asked, m.changed
		m.mu.Unlock()
		if done {
			return m.refusals()
		}
		select {
		case <-changed:
		case <-m.ended:
			return errors.Join(errClosed, m.missing())
		case <-ctx.Done():
			return errors.Join(fault.WithCause(ctx, ctx.Err()), m.missing(), m.refusals())
		}
	}
}

// missing returns an error that says what is not in the mirror, or nil.
func (m *mirror) missing() error {
	s := m.status()
	if len(s.Waiting) == 0 {
		return s.Err
	}
	text := fmt.Sprintf("%d steps with %s, the newest of which is %d, are not in the mirror %s; the next Checkpointer of the run copies them",
		len(s.Waiting), fault.Size(s.Bytes), s.Waiting[len(s.Waiting)-1], storage.Location{Called: m.root.name})
	if s.Err != nil {
		return fmt.Errorf("%s: %w", text, s.Err)
	}
	return errors.New(text)
}

// refusals returns the errors of the steps that are not copied.
func (m *mirror) refusals() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	for _, r := range m.refused {
		errs = append(errs, fmt.Errorf("step %d is not copied to the mirror: %w", r.step.Step, r.err))
	}
	return errors.Join(errs...)
}

// close waits for the mirror as long as bytes move, and then ends the copying.
func (m *mirror) close() error {
	select {
	case <-m.ended: // by an earlier close, which has returned the errors
		return nil
	default:
	}
	defer func() {
		m.stop()
		<-m.ended
	}()
	m.update(func() { m.moved = time.Now() })
	for m.options.Patience > 0 {
		m.mu.Lock()
		left := time.Until(m.moved.Add(m.options.Patience))
		m.mu.Unlock()
		if left <= 0 {
			break
		}
		ctx, cancel := context.WithTimeout(context.Background(), left)
		err := m.wait(ctx)
		ended := ctx.Err() == nil
		cancel()
		if ended {
			return err
		}
	}
	m.mu.Lock()
	done := m.done == m.asked
	m.mu.Unlock()
	if done {
		return m.refusals()
	}
	return errors.Join(m.missing(), m.refusals())
}

// locate returns the location of a step of the run.
func (r *root) locate(ctx context.Context, at Step) (storage.Location, error) {
	return config.Locate(ctx, r.given, at.Path)
}
