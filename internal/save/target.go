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

// Target is the destination of a save, and makes the save visible there. A save calls the
// methods in this order, one at a time. If a step before Publish fails, the save calls
// Abort.
//
// If several processes save together, each has a target that wraps another and calls it in
// the process with rank 0.
type Target interface {
	// Check may refuse the place. The plan has no items yet.
	Check(ctx context.Context, p *Plan) error
	// Accept may refuse an item. No data of the item has been copied yet.
	Accept(ctx context.Context, p *Plan, item *Item) error
	// Claim takes the place, as far as this is possible without waiting for other
	// writers. An asynchronous save reports an error of Claim at once. Every item has
	// been accepted, and copied if the caller may change it.
	Claim(ctx context.Context, p *Plan) error
	// Open returns the directory to which the items are written, and the context for
	// writing them. It may wait. An asynchronous save calls Open and the later methods in
	// the background.
	Open(ctx context.Context, p *Plan) (context.Context, storage.Files, error)
	// Stage returns the stage that Claim or Open has begun, or nil.
	Stage() storage.Stage
	// Publish writes the documents at the root, and makes the save durable and visible.
	// All items have been written. After an error nothing is left at the place, unless
	// the error matches ErrInPlace.
	Publish(ctx context.Context, p *Plan) error
	// Abort undoes Claim and Open, if they have begun anything. why is the error of the
	// step that has failed. Abort returns the error of the save, which says what has failed
	// besides.
	Abort(why error) error
}

// Plan holds the data of a save, and grows while the save is prepared.
type Plan struct {
	Config *Config
	Place  // of the future checkpoint
	Engine *transfer.Engine
	// Meta is the metadata of the checkpoint, complete when all items are written.
	Meta layout.CheckpointMetadata
	// Items are in the order of their names, the metrics last.
	Items []*Item
	// Bytes is the least number of bytes that the items accepted so far will take.
	Bytes int64
	// Digests are the digests of the files that have been written.
	Digests layout.Digests

	reuse func(name string) *ckdir.Reuse // returns the data that an item shares; nil if no item shares any
	like  func() *earlier                // returns the step before; nil if there is none
}

// Item is the data that is saved as one directory of the checkpoint.
type Item struct {
	Name    string
	Handler handler.Handler
	// Value is the value to save, and Leaves are its leaves if it is a pytree. Both are
	// set only while the item is accepted.
	Value  any
	Leaves []tree.Leaf

	plan  ckdir.Announced // of a pytree
	write handler.WriteFunc
}

// writes reports whether the process with a rank writes the item. Of several processes,
// each writes a part of a pytree, and its own files if the handler says so; anything else
// is written by rank 0.
func (i *Item) writes(rank int) bool {
	_, every := i.Handler.(handler.PerProcess)
	return rank == 0 || i.plan.Merge != nil || every
}
