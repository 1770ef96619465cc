// Package transfer moves bytes between memory and the files of a store: a plan
// goes in, one engine runs it, in parallel and within a budget of memory.
//
// A plan is plain data. It knows files, offsets and lengths; what the bytes
// mean is in the functions that it carries: an Item appends its encoded form to
// a buffer, a Read hands what it has read to its owner, who verifies and
// decodes it.
//
//	e := &transfer.Engine{Budget: 64 << 20}
//	extents, err := e.WritePacked(ctx, stage, "d/values", items)
//	err = e.ReadAll(ctx, store, dir, reads)
package transfer

// unitBytes is what the engine aims to write or read at once: large enough for
// the full rate of a disk, small enough that a few in flight are little memory.
const unitBytes = 8 << 20

// Extent is where a value lies in a file.
type Extent struct {
	File           string
	Offset, Length int64
}
