package partial

import (
	"context"
	"fmt"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/tree"
)

// formats has the parts of a session with arrays, by the zarr format of the arrays. All
// arrays of a checkpoint have one format, because Orbax loads no other checkpoints.
type formats struct {
	two, three []string // names of directories
}

// add adds a part of the session.
func (f *formats) add(part string, t *layout.TreeMetadata) {
	for _, l := range t.Leaves {
		switch {
		case l.Empty || l.ValueType == layout.String:
			continue
		case t.Zarr3:
			f.three = append(f.three, part)
		default:
			f.two = append(f.two, part)
		}
		return
	}
}

// accept refuses a part with arrays in another format than those of the session.
func (f *formats) accept(zarr2 bool) error {
	const refused = "%w: the arrays of this part would be in zarr format %d and those of part %s are in format %d; " +
		"a checkpoint has one format: save the part %s StorageOptions.Zarr2"
	switch {
	case zarr2 && len(f.three) > 0:
		return fmt.Errorf(refused, fault.ErrUnsupported, 2, f.three[0], 3, "without")
	case !zarr2 && len(f.two) > 0:
		return fmt.Errorf(refused, fault.ErrUnsupported, 3, f.two[0], 2, "with")
	}
	return nil
}

// check refuses the parts of the session at dir if their arrays are in several formats.
func (f *formats) check(dir string) error {
	if len(f.two) == 0 || len(f.three) == 0 {
		return nil
	}
	return fmt.Errorf("%w: arrays are in zarr format 2 in %s, and in format 3 in %s; a checkpoint has one format: "+
		"remove the directories of the parts of one format from %s, save their leaves again in the other, and finalize again",
		fault.ErrUnsupported, fault.List(f.two), fault.List(f.three), dir)
}

// checkFormats refuses parts with arrays in several formats. dir is their session.
func (c *contents) checkFormats(ctx context.Context, dir string) error {
	var f formats
	for _, p := range c.parts {
		t, err := p.tree(ctx)
		if err != nil {
			return err
		}
		f.add(p.title(), t)
	}
	return f.check(dir)
}

// hasArray reports whether a leaf will be stored as an array.
func hasArray(l tree.Leaf) bool {
	switch l.Value.(type) {
	case nil, string, tree.Empty:
		return false
	}
	return true
}
