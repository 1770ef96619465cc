package pytree

import (
	"bytes"
	"context"
	"sync"

	"github.com/go-orbax/orbax/internal/database"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/zarr"
)

// These bound the documents of arrays that are read ahead.
const (
	maxAhead    = 64 << 10 // bytes of one
	maxAllAhead = 16 << 20
)

// readAhead reads the documents of the arrays that are values in the data files of the
// database, as old releases of Orbax wrote them, if each read is a request that takes its
// time: most of them lie beside each other. A document that cannot be read is left for
// readValue, which reports it.
func (o *opener) readAhead(ctx context.Context, names []string, format int) error {
	if !o.ocdbt || !transfer.IsDear(o.properties()) {
		return nil
	}
	var mu sync.Mutex
	ahead := map[string][]byte{}
	var reads []transfer.Read
	room := int64(maxAllAhead)
	for i, l := range o.meta.Leaves {
		key := database.JoinKey(names[i], zarr.DocumentName(format))
		v, ok := o.values.Find([]byte(key))
		if l.Empty || l.ValueType == layout.String || !ok || v.IsInline() || v.Ref.Length > maxAhead || o.broken.Check(v.Ref) != nil {
			continue
		}
		if room -= v.Ref.Length; room < 0 {
			break
		}
		reads = append(reads, transfer.Read{
			Leaf:   names[i],
			Extent: transfer.Extent(v.Ref),
			Failed: func(error) error { return nil },
			Done: func(doc []byte) error {
				mu.Lock()
				defer mu.Unlock()
				ahead[key] = bytes.Clone(doc)
				return nil
			},
		})
	}
	if len(reads) < 2 {
		return nil
	}
	var e *transfer.Engine // its own, because no data is moved yet
	err := e.ReadAll(ctx, o.dir.At(), reads)
	o.ahead = ahead
	return err
}
