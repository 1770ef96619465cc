package treesave

import (
	"crypto/sha256"
	"fmt"
	"iter"
	"strings"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/sharding"
)

// Lines yields the path of each leaf with a text that says how it is stored. If the plans
// of two processes have equal lines, the processes save parts of the same tree. The text of
// a small leaf that is no [array.Sharded] also has its value: all processes hold it, and
// one of them stores it.
func (p *Plan) Lines() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		arrays := make(map[string]*planned, len(p.arrays))
		for i := range p.arrays {
			arrays[p.arrays[i].name] = &p.arrays[i]
		}
		layouts := map[*sharding.Sharding]string{}
		for _, l := range p.meta.Leaves {
			name := l.Path.String()
			text := string(l.ValueType)
			if a := arrays[name]; a != nil && !l.Empty && l.ValueType != layout.String {
				text += p.describe(a, layouts)
			} else if s, ok := p.strings[name]; ok {
				text += " " + stringText(s)
			}
			if strings.Count(name, ".") != len(l.Path)-1 {
				name = l.Path.ID() // a key has a dot, or there are no keys
			}
			if !yield("leaf "+name, text) {
				return
			}
		}
	}
}

// describe returns a text about an array. layouts has the texts of shardings.
func (p *Plan) describe(a *planned, layouts map[*sharding.Sharding]string) string {
	text := fmt.Sprintf(" %v%v", a.src.DType(), a.src.Shape())
	if impl := prngImpl(a.src); impl != "" {
		text = " keys of " + impl + text
	}
	switch src := a.src.(type) {
	case *array.Sharded:
		on := src.Sharding()
		if layouts[on] == "" {
			layouts[on] = layoutText(on)
		}
		text += " of " + layouts[on]
	case *array.Array:
		if b := src.Bytes(); len(b) <= layout.MaxInline {
			text += " = " + valueText(src)
		}
	}
	codecs := a.zarr.Codecs()
	if a.automatic() {
		codecs = a.compression.String()
	}
	in := "the database"
	if p.storage.PlainFiles {
		in = "plain files"
	}
	return text + fmt.Sprintf(", stored in %s as %v of zarr %d in chunks of %v with %s", in, a.zarr.DType, a.zarr.Format, a.zarr.ChunkShape, codecs)
}

// layoutText returns a text about a sharding, with its devices or a hash of them.
func layoutText(on *sharding.Sharding) string {
	text := on.String()
	if on.Mesh == nil {
		return text
	}
	devices := fmt.Sprint(on.Mesh.DeviceIDs)
	if len(devices) > 100 {
		devices = hashText([]byte(devices))
	}
	return text + " over the devices " + devices
}

// stringText returns a short text of a string: the string itself, or its length and a hash.
func stringText(s string) string {
	if len(s) <= 64 {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("of %d bytes, %s", len(s), hashText([]byte(s)))
}

// valueText returns a short text of a small array: its elements, or a hash of them.
func valueText(a *array.Array) string {
	n, _ := array.NumElements(a.Shape())
	if n > 4 {
		return hashText(a.Bytes())
	}
	elements := make([]string, n)
	for i := range elements {
		elements[i] = a.FormatElement(i)
	}
	text := strings.Join(elements, " ")
	if strings.Contains(text, "NaN") { // there are many
		text += fmt.Sprintf(" (%x)", a.Bytes())
	}
	return text
}

func hashText(b []byte) string {
	sum := sha256.Sum256(b)
	return fmt.Sprintf("sha256 %x…", sum[:8])
}
