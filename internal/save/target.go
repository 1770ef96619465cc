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
// A target can also be shared by several processes that write one checkpoint; each
// process calls all methods. Claim compares the plans, and one process begins the stage.
// Open joins the stage. Publish gathers the digests, from which the process that began
// the stage makes the documents. Abort makes the other processes give up too.
type Target interface {
	// Check may refuse the place. The plan has no items yet.
	Check(ctx context.Context, p *Plan) error
	// Accept may refuse an item. No data of the item has been copied yet.
	Accept(ctx context.Context, p *Plan, item *Item) error
	// Claim takes the place, as far as this is possible without waiting for other
	// writers. An asynchronous save reports an error of Claim at once. Every item has
	// been accepted, and copied if the caller may change it.
	Claim(ctx context.Context, p *Plan) error
	// Open returns the directory to which the items are written. It may wait. An
	// asynchronous save calls Open and the later methods in the background.
	Open(ctx context.Context, p *Plan) (storage.Files, error)
	// Publish writes the documents at the root, and makes the save durable and visible.
	// All items have been written. After an error nothing is left at the place, unless
	// the error matches ErrInPlace.
	Publish(ctx context.Context, p *Plan) error
	// Abort undoes Claim and Open, if they have begun anything. why is the error of the
	// save.
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

	write handler.WriteFunc
}
