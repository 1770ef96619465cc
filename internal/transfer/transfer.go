// Package transfer moves bytes between memory and the files of a store. An [Engine] runs
// a plan in parallel, within a budget of memory.
//
// A plan is plain data. It has files, offsets and lengths, and functions that know the
// meaning of the bytes: an [Item] appends its encoded form to a buffer, and a [Read]
// passes the bytes that it has read to its owner, which verifies and decodes them.
//
//	e := &transfer.Engine{Budget: 64 << 20}
//	extents, err := e.WritePacked(ctx, stage, "d/values", items)
//	err = e.ReadAll(ctx, dir, reads)
package transfer

// Extent is the place of a value in a file.
type Extent struct {
	File           string
	Offset, Length int64
}
