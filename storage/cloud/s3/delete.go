package s3

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/go-orbax/orbax/internal/parallel"
	"github.com/go-orbax/orbax/storage/object"
)

// batch is the most objects that one request deletes.
const batch = 1000

// Delete implements [object.Bucket]. Amazon S3 compares versions in a batch too, but other
// services with its API ignore them there and delete the object.
func (b *bucket) Delete(ctx context.Context, refs []object.Ref) error {
	var any []types.ObjectIdentifier
	group, gctx := parallel.WithContext(ctx)
	group.SetLimit(8)
	for _, r := range refs {
		if r.Version != "" || len(refs) == 1 {
			group.Go(func() error { return b.deleteOne(gctx, r) })
		} else {
			any = append(any, types.ObjectIdentifier{Key: &r.Key})
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for ids := range slices.Chunk(any, batch) {
		if err := b.deleteBatch(ctx, ids); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// deleteOne deletes an object, if it has the version of r.
func (b *bucket) deleteOne(ctx context.Context, r object.Ref) error {
	_, err := b.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &b.name, Key: &r.Key, IfMatch: optional(r.Version)}, once)
	if err != nil {
		return stays(b.failed(ctx, "delete", r.Key, err))
	}
	return nil
}

// stays returns nil if err says that the object is missing or has another version.
func stays(err error) error {
	if errors.Is(err, object.ErrPrecondition) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// deleteBatch deletes objects of any version.
func (b *bucket) deleteBatch(ctx context.Context, ids []types.ObjectIdentifier) error {
	out, err := b.client.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: &b.name, Delete: &types.Delete{Objects: ids, Quiet: aws.Bool(true)}}, once)
	if err != nil {
		return b.failed(ctx, "delete", *ids[0].Key, err)
	}
	for _, e := range out.Errors {
		if err := stays(b.answer("delete", aws.ToString(e.Key), answer{code: aws.ToString(e.Code), text: oneLine(aws.ToString(e.Message))})); err != nil {
			return err
		}
	}
	return nil
}
