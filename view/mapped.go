package view

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"unsafe"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/mmap"
	"github.com/go-orbax/orbax/tree"
)

// Mappings holds the ranges of a checkpoint's files that loads have mapped into memory;
// see [Tree.Mapped]. The zero value has none. Several goroutines may use it. It must not
// be copied.
type Mappings struct {
	mu     sync.Mutex
	closed bool
	loads  []*mappedLoad
	uses   map[*context.CancelCauseFunc]bool
	used   sync.WaitGroup // counts uses
}

// mappedLoad is the memory that one load has mapped.
type mappedLoad struct {
	space  *mmap.Space
	checks []check // in the order of their addresses
}

// Mapped returns the same tree, with loads that map arrays into memory where they can. If
// a file holds the elements of an array as they are in memory, the tree's Load, LoadInto
// and LoadAbstract do not copy them: the array is memory that m maps from the file. They
// read all other elements. Other methods, and trees that are selected from this one, map
// nothing.
//
// If verify is true, a load reads all mapped elements to verify the stored checksums;
// otherwise [Mappings.Verify] does so on demand.
//
// The program may write to the memory, which changes no file and no other load. Leaves
// that share one stored array, such as tied weights, may share their memory. The memory
// lives until m is closed.
func (t *Tree) Mapped(m *Mappings, verify bool) *Tree {
	c := *t
	c.mapper = &mapper{m, verify}
	return &c
}

// Close ends the running loads, waits for them, and unmaps all memory. The addresses are
// never used again: a program that accesses one of them faults.
func (m *Mappings) Close() error {
	m.mu.Lock()
	m.closed = true
	for cancel := range m.uses {
		(*cancel)(fs.ErrClosed)
	}
	m.mu.Unlock()
	m.used.Wait()

	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	for _, l := range m.loads {
		errs = append(errs, l.space.Retire())
	}
	m.loads = nil
	return errors.Join(errs...)
}

// use keeps the mapped memory, and returns a context that ends when m is about to be
// closed. The caller must call done when it no longer uses the memory.
func (m *Mappings) use(ctx context.Context) (_ context.Context, done func(), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, nil, fmt.Errorf("the mappings are closed: %w", fs.ErrClosed)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	if m.uses == nil {
		m.uses = map[*context.CancelCauseFunc]bool{}
	}
	m.uses[&cancel] = true
	m.used.Add(1)
	return ctx, func() {
		m.mu.Lock()
		delete(m.uses, &cancel)
		m.mu.Unlock()
		cancel(nil)
		m.used.Done()
	}, nil
}

// Verify verifies the checksums of the mapped leaves that contain the given arrays.
// Without arrays it verifies all mapped leaves. It reads the memory as it is: an array
// that the program has changed does not match. It skips arrays that are not mapped,
// because the load that read them has verified their checksums.
func (m *Mappings) Verify(ctx context.Context, arrays ...*array.Array) error {
	ctx, done, err := m.use(ctx)
	if err != nil {
		return err
	}
	defer done()
	m.mu.Lock()
	loads := slices.Clone(m.loads)
	m.mu.Unlock()
	var checks []check
	for _, l := range loads {
		if len(arrays) == 0 {
			checks = append(checks, l.checks...)
		}
		for _, a := range arrays {
			if a != nil {
				checks = append(checks, l.of(a.Bytes())...)
			}
		}
	}
	return verifyAll(ctx, nil, checks)
}

// of returns the checks of the leaves that contain memory.
func (l *mappedLoad) of(memory []byte) []check {
	if len(memory) == 0 {
		return nil
	}
	start := address(memory)
	end := start + uintptr(len(memory))
	find := func(at uintptr) (int, bool) {
		return slices.BinarySearchFunc(l.checks, at, func(c check, at uintptr) int {
			return cmp.Compare(address(c.data), at)
		})
	}
	first, found := find(start)
	if !found && first > 0 {
		// The memory may begin inside the part before, which may belong to several
		// leaves.
		first, _ = find(address(l.checks[first-1].data))
	}
	var checks []check
	for _, c := range l.checks[first:] {
		if address(c.data) >= end {
			break
		}
		if address(c.data)+uintptr(len(c.data)) > start {
			checks = append(checks, c)
		}
	}
	return checks
}

func address(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

// mapper maps the arrays of loads. A nil mapper maps nothing.
type mapper struct {
	*Mappings
	verify bool
}

func (m *mapper) use(ctx context.Context) (context.Context, func(), error) {
	if m == nil {
		return ctx, func() {}, nil
	}
	return m.Mappings.use(ctx)
}

// arrays returns the arrays of the leaves that can be mapped, and nil for each other
// leaf. load is the mapped memory, for keep; it is nil if nothing is mapped.
func (m *mapper) arrays(
	ctx context.Context, leaves []*Leaf, slots []tree.Slot,
) (arrays []*array.Array, load *mappedLoad, err error) {
	arrays = make([]*array.Array, len(leaves))
	if m == nil {
		return arrays, nil, nil
	}
	p := &mapPlan{files: map[fileKey]*mappedFile{}}
	for i, l := range leaves {
		if l.isArray() && (slots == nil || !slots[i].Skip && slots[i].Array == nil && slots[i].Boxes == nil) {
			p.add(ctx, l, i, l.wanted(slots, i))
		}
	}
	space, err := p.run(ctx)
	if space == nil {
		return arrays, nil, err
	}
	load = &mappedLoad{space: space}
	for i := range p.leaves {
		l := &p.leaves[i]
		data := l.memory(space)
		a, err := array.New(l.want.DType, l.want.Shape, data)
		ok := err == nil
		if ok {
			load.checks, ok = l.addChecks(load.checks, space, data)
		}
		if ok {
			arrays[l.number] = a.WithSharding(l.want.Sharding)
			l.engine().Counters().Mapped.Add(int64(len(data)))
		}
	}
	if m.verify {
		err = verifyAll(ctx, p.leaves[0].engine(), load.checks)
	}
	return arrays, load, p.unchanged(ctx, err)
}

// keep keeps the memory that a load has mapped. If the load failed with err, the caller
// has not seen the memory, and keep releases its addresses.
func (m *mapper) keep(load *mappedLoad, err error) {
	if load == nil {
		return
	}
	if err != nil {
		_ = load.space.Release()
		return
	}
	slices.SortStableFunc(load.checks, func(a, b check) int {
		return cmp.Compare(address(a.data), address(b.data))
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	m.loads = append(m.loads, load)
}

// unchanged returns err, the outcome of mapping, or an error if files have been replaced
// meanwhile.
func (p *mapPlan) unchanged(ctx context.Context, err error) error {
	asked := map[*Dir]bool{}
	for _, f := range p.order {
		if d := f.dir; f.size > 0 && !f.bad && d.Unchanged != nil && !asked[d] {
			asked[d] = true
			err = d.Unchanged(ctx, err)
		}
	}
	return err
}
