package view

import (
	"errors"
	"io"
	"testing"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/tree"
)

// writerAt fails the test that writes to it.
type writerAt struct{ t *testing.T }

func (w writerAt) WriteAt(p []byte, at int64) (int, error) {
	w.t.Errorf("%d bytes written at %d", len(p), at)
	return len(p), nil
}

var _ io.WriterAt = writerAt{}

// A broken leaf gives its error to every reader, and to what is made of it; never
// elements that nothing has filled.
func TestBrokenLeaf(t *testing.T) {
	ctx := t.Context()
	why := errors.Join(fault.ErrCorrupt)
	path := tree.Path{{Name: "w"}}
	known := NewBroken(LeafMetadata{Path: path, Kind: tree.KindArray, DType: array.Int8, Shape: []int{4}, Bytes: 4}, why)
	unknown := NewBroken(LeafMetadata{Path: path}, why)
	whole, err := Constant(tree.Path{{Name: "b"}}, array.Of([]int8{1, 2, 3, 4}))
	if err != nil {
		t.Fatal(err)
	}
	for name, l := range map[string]*Leaf{"known": known, "unknown": unknown} {
		t.Run(name, func(t *testing.T) {
			made := map[string]func() (*Leaf, error){
				"itself":    func() (*Leaf, error) { return l, nil },
				"At":        func() (*Leaf, error) { return l.At(tree.Path{{Name: "v"}}), nil },
				"Cast":      func() (*Leaf, error) { return l.Cast(array.Float32) },
				"Slice":     func() (*Leaf, error) { return l.Slice(0, 0, 2, 1) },
				"Index":     func() (*Leaf, error) { return l.Index(0, 1) },
				"Transpose": func() (*Leaf, error) { return l.Transpose() },
				"Reshape":   func() (*Leaf, error) { return l.Reshape(2, 2) },
				"Concat":    func() (*Leaf, error) { return Concat(nil, 0, whole, l) },
				"Stack":     func() (*Leaf, error) { return Stack(nil, 0, l, whole) },
				"Compute":   func() (*Leaf, error) { return Compute(nil, array.Int8, []int{4}, nil, whole, l) },
			}
			for op, f := range made {
				m, err := f()
				if err != nil {
					t.Errorf("%s: %v", op, err)
					continue
				}
				broken := New("", []*Leaf{m})
				pair := New("", []*Leaf{whole.At(m.Metadata().Path)})
				var v any
				_, loadErr := m.Load(ctx)
				_, regionErr := m.Region(ctx, []int{0}, []int{1})
				_, treeErr := broken.Load(ctx)
				_, lazyErr := broken.Lazy(ctx)
				_, _, hashErr := broken.Hash(ctx)
				_, diffErr := Diff(ctx, pair, broken, DiffOptions{})
				_, mapErr := broken.Mapped(new(Mappings), false).Load(ctx)
				for what, err := range map[string]error{
					"Load": loadErr, "Region": regionErr, "Tree.Load": treeErr, "Lazy": lazyErr, "Hash": hashErr, "Diff": diffErr, "Mapped": mapErr,
					"ReadRegion": m.ReadRegion(ctx, make([]byte, 4), []int{0}, []int{4}),
					"LoadInto":   broken.LoadInto(ctx, &v, tree.BindOptions{}),
					"CopyTo":     broken.CopyTo(ctx, writerAt{t}, func(*LeafMetadata) (int64, bool) { return 0, true }),
					"Verify":     errors.Join(broken.Verify(ctx)...),
					"Metadata":   broken.Metadata().Err(),
				} {
					var leaf *fault.Leaf
					if !errors.Is(err, fault.ErrCorrupt) || !errors.As(err, &leaf) {
						t.Errorf("%s, %s: %v", op, what, err)
					}
				}
				if err := broken.CopyTo(ctx, writerAt{t}, func(*LeafMetadata) (int64, bool) { return 0, false }); err != nil {
					t.Errorf("%s, not copied: %v", op, err)
				}
			}
		})
	}
	both := New("", []*Leaf{whole, known})
	if v, err := both.Select(func(m *LeafMetadata) bool { return m.Err == nil }).Load(ctx); err != nil {
		t.Errorf("the other: %v, %v", v, err)
	}
	only := func(m *LeafMetadata) bool { return m.Path[0].Name == "b" }
	if d, err := Diff(ctx, both, both, DiffOptions{Only: only}); err != nil || len(d) > 0 {
		t.Errorf("diff of the other: %v, %v", d, err)
	}
	if d, err := Diff(ctx, both, both, DiffOptions{MetadataOnly: true}); err != nil || len(d) > 0 {
		t.Errorf("diff of metadata that are known: %v, %v", d, err)
	}
	without := New("", []*Leaf{unknown})
	if _, err := Diff(ctx, without, both, DiffOptions{MetadataOnly: true}); !errors.Is(err, fault.ErrCorrupt) {
		t.Errorf("diff of metadata that are not known: %v", err)
	}
}
