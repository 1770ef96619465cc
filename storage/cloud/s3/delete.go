package s3

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/go-orbax/orbax/internal/fault"
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

// noVersion is an ETag that no object has.
const noVersion = `"00000000000000000000000000000000"`

// deleteOne deletes an object, if it has the version of r. Some services with the API of
// Amazon ignore the version and delete any object. One is known to compare versions when it
// has refused to delete for another version than the object has. Until then the version is
// looked at first.
func (b *bucket) deleteOne(ctx context.Context, r object.Ref) error {
	if r.Version == "" || b.amazon.Load() || b.compares.Load() {
		return stays(b.deleteIf(ctx, r.Key, r.Version))
	}
	info, err := b.stat(ctx, "delete", r.Key, "")
	if err != nil {
		return stays(err)
	}
	if strings.Trim(info.Version, `"`) != strings.Trim(r.Version, `"`) {
		return nil
	}
	if err := b.deleteIf(ctx, r.Key, noVersion); !errors.Is(err, object.ErrPrecondition) {
		return stays(err)
	}
	b.compares.Store(true)
	return stays(b.deleteIf(ctx, r.Key, r.Version))
}

// deleteIf is one request to delete an object.
func (b *bucket) deleteIf(ctx context.Context, key, version string) error {
	_, err := b.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &b.name, Key: &key, IfMatch: optional(version)}, once)
	if err == nil {
		return nil
	}
	err = b.failed(ctx, "delete", key, err)
	var answer *object.Error
	if errors.As(err, &answer) && answer.Status == http.StatusNotImplemented && version != "" {
		answer.Message, answer.Err = "the service cannot delete under conditions, which saves need", fault.ErrUnsupported
	}
	return err
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
