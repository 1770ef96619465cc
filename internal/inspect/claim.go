package inspect

import (
	"cmp"
	"context"
	"encoding/json"
	"path"
)

// claim is what a writer of an object store says in its temporary directory, as package
// storage/object writes it.
type claim struct {
	Owner string `json:"owner"`
	State string `json:"state"`
	Undo  *claim `json:"undo"`
}

// maxClaim is the size up to which a claim is read.
const maxClaim = 1 << 20

// claim returns what the writer of a temporary directory says, or nil.
func (l *leftovers) claim(ctx context.Context, name string) *claim {
	if !l.at.Store.Properties().NeedsMarker() {
		return nil
	}
	r, err := l.at.Store.Open(ctx, path.Join(name, "claim"))
	if err != nil {
		return nil
	}
	defer r.Close()
	text := make([]byte, min(r.Size(), maxClaim))
	c := &claim{}
	if r.ReadAt(ctx, text, 0) != nil || json.Unmarshal(text, c) != nil {
		return &claim{}
	}
	return c
}

// last returns the claim of the writer whose work is undone or finished.
func (c *claim) last() *claim { return cmp.Or(c.Undo, c) }

// undoes reports whether the next writer removes what the writer has written.
func (c *claim) undoes() bool { return c.last().State == "writing" }

// what says what the writer has begun.
func (c *claim) what() string {
	if c == nil {
		return "objects without a claim"
	}
	switch c.last().State {
	case "writing":
		return "an unfinished save: its files are removed"
	case "changing":
		return "a save or a removal that is decided: it is finished"
	case "preparing":
		return "a claim: nothing was changed"
	}
	return "a claim that cannot be read"
}
