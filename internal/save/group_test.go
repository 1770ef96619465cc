package save_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/documents"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/save"
	"github.com/go-orbax/orbax/storage"
)

// group is the common state of processes that save one checkpoint, here in memory.
type group struct {
	size int

	mu      sync.Mutex
	changed *sync.Cond
	came    map[string]int // number of processes that have come to a meeting
	failed  error          // why all processes give up

	leaves  map[string]string // for each leaf of all items, the item that has planned it
	ticket  string
	digests map[string][sha256.Size]byte
}

func newGroup(size int) *group {
	g := &group{size: size, came: map[string]int{}, leaves: map[string]string{}, digests: map[string][sha256.Size]byte{}}
	g.changed = sync.NewCond(&g.mu)
	return g
}

// meet calls do when all processes have come, and then returns in each. If one of them
// has failed, meet fails in all.
func (g *group) meet(at string, do func() error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := do(); err != nil && g.failed == nil {
		g.failed = err
	}
	g.came[at]++
	g.changed.Broadcast()
	for g.came[at] < g.size && g.failed == nil {
		g.changed.Wait()
	}
	return g.failed
}

func (g *group) giveUp(why error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.failed == nil {
		g.failed = fmt.Errorf("another process of the save has failed: %w", why)
	}
	g.changed.Broadcast()
}

// member is the target of one process of a group. The first member begins the stage and
// publishes it; the others join it.
type member struct {
	save.Place
	*group
	first  bool
	stage  storage.Stage  // of the first member
	joined storage.Joined // of the other members
	calls  []string
}

func (m *member) ForCheckpointables() {}
func (m *member) ApplySave(c *save.Config) {
	c.Target = func(at save.Place) save.Target { m.Place = at; return m }
}

func (m *member) Check(ctx context.Context, _ *save.Plan) error {
	m.calls = append(m.calls, "check")
	return m.CheckOutside(ctx)
}

func (m *member) Accept(ctx context.Context, p *save.Plan, item *save.Item) error {
	m.calls = append(m.calls, "accept")
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range item.Leaves {
		if other, taken := m.leaves[l.Path.String()]; taken {
			return fmt.Errorf("%w: %s is in %s too", fault.ErrKeyCollision, l.Path, other)
		}
		m.leaves[l.Path.String()] = item.Name
	}
	return p.CheckRoom(ctx)
}

func (m *member) Claim(ctx context.Context, _ *save.Plan) error {
	m.calls = append(m.calls, "claim")
	if err := m.meet("planned", func() error { return nil }); err != nil {
		return err
	}
	return m.meet("begun", func() (err error) {
		if m.first {
			if m.stage, err = m.Store.Begin(ctx, m.Name, storage.BeginOptions{}); err == nil {
				m.ticket = m.stage.Ticket()
			}
		}
		return err
	})
}

func (m *member) Open(ctx context.Context, _ *save.Plan) (_ storage.Files, err error) {
	m.calls = append(m.calls, "open")
	if m.first {
		return m.stage, nil
	}
	m.joined, err = m.Store.Join(ctx, m.ticket)
	return m.joined, err
}

func (m *member) Publish(ctx context.Context, p *save.Plan) error {
	m.calls = append(m.calls, "publish")
	err := m.meet("written", func() error {
		for line := range strings.Lines(string(p.Digests.Document())) {
			if sum, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  "); ok && sum[0] != '#' {
				var d [sha256.Size]byte
				hex.Decode(d[:], []byte(sum))
				m.digests[name] = d
			}
		}
		if m.first {
			return nil
		}
		return m.joined.Close(ctx)
	})
	if m.first && err != nil {
		err = errors.Join(err, m.stage.Abort())
	}
	if err != nil {
		return err
	}
	return m.meet("published", func() error {
		if !m.first {
			return nil
		}
		for name, sum := range m.digests {
			p.Digests.Add(name, sum)
		}
		for _, item := range m.leaves {
			p.Meta.Handlers[item] = p.Items[0].Handler.Type()
		}
		if err := documents.Write(ctx, p.Engine, m.stage, &p.Meta, &p.Digests, layout.DigestFile, m.Name); err != nil {
			return errors.Join(err, m.stage.Abort())
		}
		return m.stage.Commit(ctx)
	})
}

func (m *member) Abort(why error) error {
	m.calls = append(m.calls, "abort")
	m.giveUp(why)
	if m.stage != nil {
		return m.stage.Abort()
	}
	return nil
}

// saveTogether saves each state as an item of one checkpoint, one process for each item.
// It returns the members and the error of each.
func saveTogether(t *testing.T, path string, states ...map[string]any) ([]*member, []error) {
	g := newGroup(len(states))
	members, errs := make([]*member, len(states)), make([]error, len(states))
	var all sync.WaitGroup
	for i, state := range states {
		members[i] = &member{group: g, first: i == 0}
		all.Go(func() {
			items := map[string]any{fmt.Sprintf("item%d", i): state}
			resp, err := orbax.SaveCheckpointablesAsync(t.Context(), path, items, members[i])
			if err == nil {
				err = resp.Result(t.Context())
			}
			errs[i] = err
		})
	}
	all.Wait()
	return members, errs
}

// Several writers of one checkpoint are a target like any other: each writes only its own
// files, and one of them publishes all.
func TestGroup(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ck")
	members, errs := saveTogether(t, path, map[string]any{"a": []float32{1, 2}}, map[string]any{"b": 3}, map[string]any{"c": "text"})
	for i, m := range members {
		if got, want := strings.Join(m.calls, " "), "check accept claim open publish"; got != want || errs[i] != nil {
			t.Errorf("process %d: got the calls %q and %v, want %q", i, got, errs[i], want)
		}
	}
	if err := orbax.Verify(t.Context(), path); err != nil {
		t.Error(err)
	}
	all, err := orbax.LoadCheckpointables(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := all["item1"].(map[string]any)
	c, _ := all["item2"].(map[string]any)
	if len(all) != 3 || b["b"] != 3 || c["c"] != "text" {
		t.Errorf("got %v, want the items of three processes", all)
	}
}

// If one process cannot save its item, no process saves, and nothing is begun.
func TestGroupRefusesAll(t *testing.T) {
	dir := t.TempDir()
	for what, state := range map[string]map[string]any{"a key of another process": {"a": 2}, "no leaf": {"f": func() {}}} {
		members, errs := saveTogether(t, filepath.Join(dir, "ck"), map[string]any{"a": 1}, state)
		for i, m := range members {
			if errs[i] == nil || m.calls[len(m.calls)-1] != "abort" || m.stage != nil || m.joined != nil {
				t.Errorf("%s, process %d: got the calls %q and %v, want an abort and an error", what, i, m.calls, errs[i])
			}
		}
		if left, err := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 || err != nil {
			t.Errorf("%s: got %q, want nothing left", what, left)
		}
	}
}
