package s3

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"net/http"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/go-orbax/orbax/internal/parallel"
	"github.com/go-orbax/orbax/storage/cloud/internal/buffers"
	"github.com/go-orbax/orbax/storage/object"
)

// upload is an [object.Upload].
type upload struct {
	b       *bucket
	key, id string
	o       object.PutOptions

	mu       sync.Mutex
	parts    map[int32]part
	complete bool
	info     object.Info
	aborted  bool
}

// part is a part that has been uploaded.
type part struct {
	size      int64
	etag, crc string
}

// Upload implements [object.Bucket].
func (b *bucket) Upload(ctx context.Context, key string, _ int64, o object.PutOptions) (object.Upload, error) {
	u, err := b.upload(ctx, "upload", key, o, metadata(o.Writer))
	if err != nil {
		return nil, err
	}
	return u, nil
}

func (b *bucket) upload(ctx context.Context, op, key string, o object.PutOptions, meta map[string]string) (*upload, error) {
	out, err := b.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: &b.name, Key: &key, ChecksumAlgorithm: types.ChecksumAlgorithmCrc32c, Metadata: meta,
	}, once)
	if err != nil {
		return nil, b.failed(ctx, op, key, err)
	}
	return &upload{b: b, key: key, id: aws.ToString(out.UploadId), o: o, parts: map[int32]part{}}, nil
}

// Part implements [object.Upload].
func (u *upload) Part(ctx context.Context, number int, _ int64, body [][]byte) error {
	reader := buffers.NewReader(body)
	defer reader.Detach()
	crc, size := crcOf(body), reader.Size()
	n := int32(min(max(number, 0), maxParts+1)) // the service refuses numbers outside of 1 … 10000
	out, err := u.b.client.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: &u.b.name, Key: &u.key, UploadId: &u.id, PartNumber: &n,
		Body: reader, ContentLength: &size, ChecksumCRC32C: &crc,
	}, once, unsigned)
	if err != nil {
		return u.b.failed(ctx, "part", u.key, err)
	}
	u.keep(n, part{size, aws.ToString(out.ETag), crc})
	return nil
}

func (u *upload) keep(number int32, p part) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.parts[number] = p
}

// Complete implements [object.Upload].
func (u *upload) Complete(ctx context.Context) (object.Info, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.complete {
		return u.info, ctx.Err()
	}
	if u.aborted {
		return object.Info{}, &object.Error{Op: "complete", Key: u.key, Message: "the upload was aborted", Err: fs.ErrNotExist}
	}
	var size int64
	var parts []types.CompletedPart
	for _, n := range slices.Sorted(maps.Keys(u.parts)) {
		p := u.parts[n]
		size += p.size
		parts = append(parts, types.CompletedPart{PartNumber: &n, ETag: &p.etag, ChecksumCRC32C: optional(p.crc)})
	}
	in := &s3.CompleteMultipartUploadInput{
		Bucket: &u.b.name, Key: &u.key, UploadId: &u.id, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	}
	in.IfNoneMatch, in.IfMatch = conditions(u.o)
	out, err := u.b.client.CompleteMultipartUpload(ctx, in, once)
	if err != nil {
		return object.Info{}, u.b.refused(ctx, "complete", u.key, u.o, err)
	}
	u.complete, u.info = true, made(u.key, size, aws.ToString(out.ETag), u.o.Writer, now(out.ResultMetadata))
	return u.info, nil
}

// Abort implements [object.Upload].
func (u *upload) Abort(ctx context.Context) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.complete {
		return ctx.Err()
	}
	err := u.b.abort(ctx, u.key, u.id)
	u.aborted = u.aborted || err == nil
	return err
}

func (b *bucket) abort(ctx context.Context, key, id string) error {
	_, err := b.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &b.name, Key: &key, UploadId: &id}, once)
	if err != nil {
		if err = b.failed(ctx, "abort", key, err); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	return err
}

// AbortUploads implements [object.Bucket].
func (b *bucket) AbortUploads(ctx context.Context, prefix string) error {
	in := &s3.ListMultipartUploadsInput{Bucket: &b.name, Prefix: optional(prefix)}
	for {
		out, err := b.client.ListMultipartUploads(ctx, in, once)
		if err != nil {
			err = b.failed(ctx, "uploads", prefix, err)
			var answer *object.Error
			if errors.As(err, &answer) && answer.Status == http.StatusNotImplemented {
				return nil
			}
			return err
		}
		group, gctx := parallel.WithContext(ctx)
		group.SetLimit(8)
		for _, u := range out.Uploads {
			group.Go(func() error { return b.abort(gctx, aws.ToString(u.Key), aws.ToString(u.UploadId)) })
		}
		if err := group.Wait(); err != nil {
			return err
		}
		if !aws.ToBool(out.IsTruncated) {
			return nil
		}
		in.KeyMarker, in.UploadIdMarker = out.NextKeyMarker, out.NextUploadIdMarker
	}
}
