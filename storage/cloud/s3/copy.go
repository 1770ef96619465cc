package s3

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/go-orbax/orbax/internal/parallel"
	"github.com/go-orbax/orbax/storage/object"
)

// Copy implements [object.Bucket].
func (b *bucket) Copy(ctx context.Context, from object.Ref, to string, o object.PutOptions) (object.Info, error) {
	in := &s3.CopyObjectInput{Bucket: &b.name, Key: &to, CopySource: b.source(from.Key), CopySourceIfMatch: optional(from.Version)}
	if o.Writer != "" {
		in.MetadataDirective, in.Metadata = types.MetadataDirectiveReplace, metadata(o.Writer)
	}
	in.IfNoneMatch, in.IfMatch = conditions(o)
	out, err := b.client.CopyObject(ctx, in, once)
	if err != nil {
		err = b.failed(ctx, "copy", from.Key, err)
		if tooLarge(err) {
			return b.copyParts(ctx, from, to, o)
		}
		return object.Info{}, err
	}
	info := made(to, 0, "", o.Writer, now(out.ResultMetadata))
	if r := out.CopyObjectResult; r != nil {
		info.Version, info.Modified = aws.ToString(r.ETag), aws.ToTime(r.LastModified)
	}
	return info, nil
}

// source returns the header that names the source of a copy.
func (b *bucket) source(key string) *string {
	elements := strings.Split(key, "/")
	for i, e := range elements {
		elements[i] = strings.ReplaceAll(url.PathEscape(e), "+", "%2B")
	}
	return aws.String(b.name + "/" + strings.Join(elements, "/"))
}

// tooLarge reports whether a service refuses a copy because of the size of its source.
func tooLarge(err error) bool {
	var answer *object.Error
	return errors.As(err, &answer) && (answer.Code == "EntityTooLarge" ||
		answer.Code == "InvalidRequest" && strings.Contains(answer.Message, "maximum allowable size"))
}

// copyParts copies an object that is larger than one request may copy.
func (b *bucket) copyParts(ctx context.Context, from object.Ref, to string, o object.PutOptions) (info object.Info, err error) {
	head, err := b.stat(ctx, "copy", from.Key, from.Version)
	if err != nil {
		return object.Info{}, err
	}
	o.Writer = cmp.Or(o.Writer, head.Writer)
	u, err := b.upload(ctx, "copy", to, o, metadata(o.Writer))
	if err != nil {
		return object.Info{}, err
	}
	defer func() {
		if err != nil {
			actx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			u.Abort(actx)
		}
	}()
	size := max(b.copyPart, (head.Size+maxParts-1)/maxParts)
	group, gctx := parallel.WithContext(ctx)
	group.SetLimit(8)
	for n, off := int32(1), int64(0); off < head.Size; n, off = n+1, off+size {
		group.Go(func() error { return u.copyPart(gctx, from.Key, head.Version, n, off, min(size, head.Size-off)) })
	}
	if err := group.Wait(); err != nil {
		return object.Info{}, err
	}
	return u.Complete(ctx)
}

// copyPart makes a part of a range of another object.
func (u *upload) copyPart(ctx context.Context, from, version string, number int32, off, size int64) error {
	out, err := u.b.client.UploadPartCopy(ctx, &s3.UploadPartCopyInput{
		Bucket: &u.b.name, Key: &u.key, UploadId: &u.id, PartNumber: &number,
		CopySource: u.b.source(from), CopySourceIfMatch: &version, CopySourceRange: aws.String(fmt.Sprintf("bytes=%d-%d", off, off+size-1)),
	}, once)
	if err != nil {
		return u.b.failed(ctx, "copy", from, err)
	}
	r := out.CopyPartResult
	if r == nil {
		return &object.Error{Op: "copy", Key: from, Temporary: true, Message: "the service does not describe the part that it has copied"}
	}
	u.keep(number, part{size, aws.ToString(r.ETag), aws.ToString(r.ChecksumCRC32C)})
	return nil
}
