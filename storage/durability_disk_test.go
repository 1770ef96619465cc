package storage_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/storage"
)

// disk is a model of a disk that loses power. It is a list of effects in the
// order in which programs asked for them; of those that no sync has covered,
// any may be missing after the crash, whatever came before or after.
type disk struct {
	effects []*effect
	now     image // all effects applied, as running programs see them
}

// inode is a file or directory; names are looked up in an image.
type inode struct{ dir bool }

// effect is something that is on the disk as a whole or not at all.
type effect struct {
	kind    string
	durable bool
	where   *inode // the file, or the directory of the entries
	off     int
	data    []byte
	entries map[string]*inode // to be set, or removed if nil
}

// image is the state of a disk.
type image struct {
	writes  map[*inode][]*effect // to a file, in their order
	entries map[*inode]map[string]*inode
}

// root is the working directory of the recorded program.
var root = &inode{dir: true}

func newImage() image {
	return image{map[*inode][]*effect{}, map[*inode]map[string]*inode{}}
}

func (m image) apply(e *effect) {
	if !e.where.dir {
		m.writes[e.where] = append(m.writes[e.where], e)
		return
	}
	if m.entries[e.where] == nil {
		m.entries[e.where] = map[string]*inode{}
	}
	for name, node := range e.entries {
		if node == nil {
			delete(m.entries[e.where], name)
		} else {
			m.entries[e.where][name] = node
		}
	}
}

// find returns the inode at a path, or nil.
func (m image) find(name string) *inode {
	node := root
	for part := range strings.SplitSeq(path.Clean(name), "/") {
		if part != "." && node != nil {
			node = m.entries[node][part]
		}
	}
	return node
}

func (d *disk) add(e *effect) {
	d.effects = append(d.effects, e)
	d.now.apply(e)
}

// do carries out a recorded operation.
func (d *disk) do(op storage.Op) {
	if op.Err != nil {
		return
	}
	dir, base := path.Split(op.Name)
	parent := d.now.find(dir)
	link := func(kind string, entries map[string]*inode) {
		d.add(&effect{kind: kind, where: parent, entries: entries})
	}
	switch op.Kind {
	case "mkdir", "create":
		link(op.Kind, map[string]*inode{base: {dir: op.Kind == "mkdir"}})
	case "write":
		d.add(&effect{kind: op.Kind, where: d.now.find(op.Name), off: int(op.Off), data: op.Data})
	case "allocate", "truncate":
		d.add(&effect{kind: op.Kind, where: d.now.find(op.Name), off: int(op.Off)})
	case "sync", "syncdir":
		d.sync(d.now.find(op.Name))
	case "link":
		entries := map[string]*inode{path.Base(op.To): d.now.find(op.Name)}
		d.add(&effect{kind: op.Kind, where: d.now.find(path.Dir(op.To)), entries: entries})
	case "rename", "replace":
		node := d.now.find(op.Name)
		if to := d.now.find(path.Dir(op.To)); to != parent { // each directory keeps its entry for itself
			d.add(&effect{kind: "rename", where: to, entries: map[string]*inode{path.Base(op.To): node}})
			link("rename", map[string]*inode{base: nil})
			return
		}
		link("rename", map[string]*inode{base: nil, path.Base(op.To): node})
	case "exchange":
		link(op.Kind, map[string]*inode{base: d.now.find(op.To), path.Base(op.To): d.now.find(op.Name)})
	case "remove":
		d.remove(parent, base)
	}
}

// sync makes all changes of a file or directory durable.
func (d *disk) sync(node *inode) {
	for _, e := range d.effects {
		e.durable = e.durable || e.where == node
	}
}

func (d *disk) remove(parent *inode, base string) {
	node := d.now.entries[parent][base]
	if node == nil {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(d.now.entries[node])) {
		d.remove(node, name)
	}
	d.add(&effect{kind: "remove", where: parent, entries: map[string]*inode{base: nil}})
}

// settle makes everything durable.
func (d *disk) settle() {
	for _, e := range d.effects {
		e.durable = true
	}
}

// crashes calls f with states that the disk may be in after a loss of power:
// the extremes, and some at random.
func (d *disk) crashes(rng *rand.Rand, f func(image)) {
	survives := []func(*effect) bool{
		func(*effect) bool { return false },
		func(*effect) bool { return true },
		func(e *effect) bool { return e.kind != "write" },
		func(e *effect) bool { return e.kind == "rename" || e.kind == "exchange" },
		func(e *effect) bool { return e.kind != "rename" && e.kind != "exchange" },
	}
	for range 10 {
		survives = append(survives, func(*effect) bool { return rng.IntN(2) == 0 })
	}
	for _, survive := range survives {
		m := newImage()
		for _, e := range d.effects {
			if e.durable || survive(e) {
				m.apply(e)
			}
		}
		f(m)
	}
}

// copyOut writes a directory of the image to a real one.
func (m image) copyOut(node *inode, dst string) error {
	if !node.dir {
		var b []byte
		for _, e := range m.writes[node] {
			b = append(b, make([]byte, max(0, e.off+len(e.data)-len(b)))...)
			copy(b[e.off:], e.data)
			if e.kind == "truncate" {
				b = b[:e.off]
			}
		}
		return os.WriteFile(dst, b, 0o666)
	}
	if err := os.Mkdir(dst, 0o777); err != nil {
		return err
	}
	for name, child := range m.entries[node] {
		if err := m.copyOut(child, filepath.Join(dst, name)); err != nil {
			return err
		}
	}
	return nil
}

// describe distinguishes the states of a file or directory.
func (m image) describe(node *inode) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%p", node)
	for _, e := range m.writes[node] {
		fmt.Fprintf(&b, "+%p", e)
	}
	for _, name := range slices.Sorted(maps.Keys(m.entries[node])) {
		fmt.Fprintf(&b, "(%s%s)", name, m.describe(m.entries[node][name]))
	}
	return b.String()
}

// inspector loads the checkpoint that a crash has left.
type inspector struct {
	dir  string
	seen map[string]verdict
}

type verdict struct {
	version int
	err     error
}

func (i *inspector) version(m image, node *inode) (int, error) {
	if node == nil {
		return 0, nil
	}
	state := m.describe(node)
	v, ok := i.seen[state]
	if !ok {
		dst := filepath.Join(i.dir, fmt.Sprint(len(i.seen)))
		if v.err = m.copyOut(node, dst); v.err == nil {
			v.version, v.err = versionAt(dst)
		}
		if v.err == nil && v.version == 0 {
			v.err = fmt.Errorf("it is no checkpoint")
		}
		i.seen[state] = v
	}
	return v.version, v.err
}

// simulate replays a save over version 1, or over nothing, on a disk that
// crashes after every operation, beginning with that of index first, and
// returns the first state that is not allowed.
func simulate(t *testing.T, before, ops []storage.Op, first int, fallback bool) error {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	look := inspector{scratch(t), map[string]verdict{}}
	d := &disk{now: newImage()}
	for _, op := range before {
		d.do(op)
	}
	d.settle()
	allowed := []int{0, 2}
	if len(before) > 0 {
		allowed = []int{1, 2}
	}
	check := func(m image) error {
		version, err := look.version(m, m.find("run/step"))
		if err != nil || slices.Contains(allowed, version) {
			return err
		}
		if version == 0 && fallback {
			// The old one must still be there under its temporary name.
			for _, node := range m.entries[m.find("run")] {
				if v, err := look.version(m, node); err == nil && v == 1 {
					return nil
				}
			}
		}
		return fmt.Errorf("version %d", version)
	}
	for i, op := range ops {
		d.do(op)
		if i < first {
			continue
		}
		if i == len(ops)-1 {
			allowed, fallback = []int{2}, false // Save has returned
		}
		var bad error
		d.crashes(rng, func(m image) {
			if err := check(m); err != nil && bad == nil {
				bad = fmt.Errorf("power lost after %d operations (%s %s): %w", i+1, op.Kind, path.Base(op.Name), err)
			}
		})
		if bad != nil {
			return bad
		}
	}
	return nil
}

// recordSaves records a save of version 1, if there is to be an old one, and of
// version 2.
func recordSaves(t *testing.T, old, noExchange bool) (before, ops []storage.Op) {
	t.Helper()
	t.Chdir(scratch(t))
	r := &storage.Recorder{NoSync: true, NoExchange: noExchange}
	in := orbax.In(r.Store())
	if old {
		must(t, orbax.Save(t.Context(), "run/step", sample(1), in))
		before = r.Ops()
	}
	must(t, orbax.Save(t.Context(), "run/step", sample(2), orbax.Overwrite(), in))
	return before, r.Ops()[len(before):]
}

var modes = []struct {
	name            string
	old, noExchange bool
}{
	{name: "fresh"},
	{name: "overwrite", old: true},
	{name: "overwrite-fallback", old: true, noExchange: true},
}

// Whenever the power fails the path holds nothing or the old checkpoint, or
// the complete new one; once Save has returned, the new one.
func TestPowerLoss(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			before, ops := recordSaves(t, mode.old, mode.noExchange)
			fallback := slices.ContainsFunc(ops, func(op storage.Op) bool { return op.Kind == "exchange" && op.Err != nil })
			if err := simulate(t, before, ops, 0, fallback); err != nil {
				t.Error(err)
			}
		})
	}
}

// The simulation notices every sync that is left out.
func TestPowerLossWithoutSync(t *testing.T) {
	before, ops := recordSaves(t, true, false)
	exchange := slices.IndexFunc(ops, func(op storage.Op) bool { return op.Kind == "exchange" })
	for i, op := range ops {
		if op.Kind != "sync" && op.Kind != "syncdir" {
			continue
		}
		if op.Kind == "sync" && harmless[path.Base(op.Name)] {
			continue
		}
		rest := slices.Delete(slices.Clone(ops), i, i+1)
		if simulate(t, before, rest, exchange-1, false) == nil {
			t.Errorf("without %s %s (operation %d) nothing is lost", op.Kind, op.Name, i)
		}
	}
}

// harmless are files whose contents no load needs, as long as they are there.
var harmless = map[string]bool{"orbax.checkpoint": true, "commit_success.txt": true}
