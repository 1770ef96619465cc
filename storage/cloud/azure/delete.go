package azure

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/go-orbax/orbax/storage/object"
)

// maxBatch is the most requests of a batch.
const maxBatch = 256

func (b *bucket) Delete(ctx context.Context, refs []object.Ref) error {
	if len(refs) == 1 { // needs no batch
		_, err := b.client.NewBlobClient(refs[0].Key).Delete(once(ctx), &blob.DeleteOptions{AccessConditions: matching(refs[0].Version)})
		if err != nil {
			err = b.failed(ctx, opDelete, refs[0].Key, err)
		}
		return unlessGone(err)
	}
	for part := range slices.Chunk(refs, maxBatch) {
		if err := b.deleteBatch(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

// unlessGone returns the error of a deletion, or nil if the object is missing or has
// another version.
func unlessGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, object.ErrPrecondition) {
		return nil
	}
	return err
}

// deleteBatch deletes up to maxBatch objects in one request.
func (b *bucket) deleteBatch(ctx context.Context, refs []object.Ref) error {
	batch, err := b.client.NewBatchBuilder()
	if err != nil {
		return b.failed(ctx, opDelete, refs[0].Key, err)
	}
	for _, r := range refs {
		if err := batch.Delete(r.Key, &container.BatchDeleteOptions{
			DeleteOptions: blob.DeleteOptions{AccessConditions: matching(r.Version)},
		}); err != nil {
			return b.failed(ctx, opDelete, r.Key, err)
		}
	}
	answer, err := submit(ctx, b.client, batch)
	if err != nil {
		return b.failed(ctx, opDelete, refs[0].Key, err)
	}
	var failed error
	for i, r := range answer.Responses {
		if r == nil || r.Error == nil {
			continue
		}
		if id := r.ContentID; id != nil && *id >= 0 && *id < len(refs) {
			i = *id
		}
		err := unlessGone(b.failed(ctx, opDelete, refs[min(i, len(refs)-1)].Key, r.Error))
		if failed == nil || err != nil && !isTemporary(err) { // one that stays is worth more
			failed = err
		}
	}
	return failed
}

// submit sends a batch. The client panics at some answers that no server should give.
func submit(ctx context.Context, client *container.Client, batch *container.BatchBuilder) (answer container.SubmitBatchResponse, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the answer to a batch has another form than a batch has")
		}
	}()
	return client.SubmitBatch(once(ctx), batch, nil)
}
