package treesave

import (
	"crypto/sha256"
	"fmt"
	"iter"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/layout"
)

// Lines yields the path of each leaf with a text that says how it is stored. If the plans
// of two processes have equal lines, the processes save parts of the same tree. The text of
// a small leaf that is no [array.Sharded] also has its value: all processes hold it, and
// one of them stores it.
func (p *Plan) Lines() iter.Seq2[string, string] {
	arrays := make(map[string]*planned, len(p.arrays))
	for i := range p.arrays {
		arrays[p.arrays[i].name] = &p.arrays[i]
	}
	return func(yield func(string, string) bool) {
		for _, l := range p.meta.Leaves {
			name := l.Path.String()
			text := string(l.ValueType)
			if a := arrays[name]; a != nil && !l.Empty && l.ValueType != layout.String {
				text += p.describe(a)
			} else if s, ok := p.strings[name]; ok {
				text += fmt.Sprintf(" %q", s)
			}
			if !yield(fmt.Sprintf("%s %s", l.Path.ID(), name), text) {
				return
			}
		}
	}
}

// describe returns a text about an array.
func (p *Plan) describe(a *planned) string {
	text := fmt.Sprintf(" %v%v", a.src.DType(), a.src.Shape())
	switch src := a.src.(type) {
	case *array.Sharded:
		text += fmt.Sprintf(" of %v", src.Sharding())
		if m := src.Sharding().Mesh; m != nil {
			text += fmt.Sprintf(" over the devices %v", m.DeviceIDs)
		}
	case *array.Array:
		if b := src.Bytes(); len(b) <= layout.MaxInline {
			text += " = " + valueText(src)
		}
	}
	return text + fmt.Sprintf(", stored as %v in chunks of %v with %s", a.zarr.DType, a.zarr.ChunkShape, a.zarr.Codecs())
}

// valueText returns a short text of a small array: its bytes, or a hash of them.
func valueText(a *array.Array) string {
	if len(a.Bytes()) <= 16 {
		return fmt.Sprintf("%x", a.Bytes())
	}
	sum := sha256.Sum256(a.Bytes())
	return fmt.Sprintf("sha256 %x…", sum[:8])
}
