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

// Delete implements [object.Bucket]. Amazon compares versions in a batch too. Other services
// with its API ignore them there and delete the object, so that each object with a version
// is a request of its own, which has the version in If-Match.
func (b *bucket) Delete(ctx context.Context, refs []object.Ref) error {
	var together []object.Ref
	group, gctx := parallel.WithContext(ctx)
	group.SetLimit(8)
	for _, r := range refs {
		if len(refs) == 1 || r.Version != "" && !b.amazon.Load() {
			group.Go(func() error { return b.deleteOne(gctx, r) })
		} else {
			together = append(together, r)
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for some := range slices.Chunk(together, batch) {
		if err := b.deleteBatch(ctx, some); err != nil {
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

// deleteBatch deletes objects in one request, each in its version if it has one.
func (b *bucket) deleteBatch(ctx context.Context, refs []object.Ref) error {
	ids := make([]types.ObjectIdentifier, len(refs))
	versions := map[string]string{}
	for i, r := range refs {
		ids[i] = types.ObjectIdentifier{Key: &r.Key, ETag: optional(r.Version)}
		versions[r.Key] = r.Version
	}
	out, err := b.client.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: &b.name, Delete: &types.Delete{Objects: ids, Quiet: aws.Bool(true)}}, once)
	if err != nil {
		return b.failed(ctx, "delete", refs[0].Key, err)
	}
	for _, e := range out.Errors {
		key := aws.ToString(e.Key)
		err := stays(b.answer(ctx, "delete", key, answer{code: aws.ToString(e.Code), text: oneLine(aws.ToString(e.Message))}))
		var answer *object.Error
		if errors.As(err, &answer) && !answer.Temporary && answer.Err == nil && versions[key] != "" {
			err = b.deleteOne(ctx, object.Ref{Key: key, Version: versions[key]}) // an answer that is not known here
		}
		if err != nil {
			return err
		}
	}
	return nil
}
