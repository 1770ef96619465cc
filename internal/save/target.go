package save

import (
	"context"

	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/tree"
)

// Target is where a save goes, and how it becomes visible there. The methods are called
// in this order, never two at a time. If the save fails before Publish, Abort is called,
// whichever step has failed.
//
// A target of several processes that write one checkpoint fits: each calls all of it.
// Claim compares their plans and has one of them begin the stage, Open joins the stage,
// Publish gathers the digests, of which the one that has begun makes the documents, and
// Abort makes the others give up too.
type Target interface {
	// Check refuses the place. The plan has no items yet.
	Check(ctx context.Context, p *Plan) error
	// Accept refuses an item. Nothing of it has been copied.
	Accept(ctx context.Context, p *Plan, item *Item) error
	// Claim takes the place, as far as that needs no waiting for other writers: what it
	// refuses, an asynchronous save refuses at once. Every item has been accepted, and
	// copied if the caller may change it.
	Claim(ctx context.Context, p *Plan) error
	// Open returns the directory that the items are written to. It may wait. An
	// asynchronous save calls Open, and what follows, in the background.
	Open(ctx context.Context, p *Plan) (storage.Files, error)
	// Publish writes the documents at the root and makes the save durable and visible.
	// All items are written. After an error nothing is left, unless it matches ErrInPlace.
	Publish(ctx context.Context, p *Plan) error
	// Abort gives up what Claim and Open have begun, if they have begun anything. why is
	// what the save fails with.
	Abort(why error) error
}

// Plan is what is to be saved, and what is known of it so far.
type Plan struct {
	Config *Config
	Place  // where the checkpoint will be
	Engine *transfer.Engine
	// Meta is the metadata of the checkpoint, complete when all items are written.
	Meta layout.CheckpointMetadata
	// Items are in the order of their names, the metrics last.
	Items []*Item
	// Bytes is the least number of bytes that the items accepted so far will take.
	Bytes int64
	// Digests are of the files that have been written.
	Digests layout.Digests

	reuse func(name string) *ckdir.Reuse // what each item shares; nil: no item does
	like  func() *earlier                // the step before; nil: none
}

// Item is what is saved as one directory of the checkpoint.
type Item struct {
	Name    string
	Handler handler.Handler
	// Value is what is saved, and Leaves are those of a pytree, while it is accepted.
	Value  any
	Leaves []tree.Leaf

	write handler.WriteFunc
}
