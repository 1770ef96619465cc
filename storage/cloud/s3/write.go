package s3

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/go-orbax/orbax/storage/cloud/internal/buffers"
	"github.com/go-orbax/orbax/storage/object"
)

// conditions returns the headers If-None-Match and If-Match.
func conditions(o object.PutOptions) (ifNoneMatch, ifMatch *string) {
	if o.IfAbsent {
		ifNoneMatch = aws.String("*")
	}
	return ifNoneMatch, optional(o.IfVersion)
}

// metadata returns the user metadata of an object.
func metadata(writer string) map[string]string {
	if writer == "" {
		return nil
	}
	return map[string]string{writerKey: writer}
}

// Put implements [object.Bucket].
func (b *bucket) Put(ctx context.Context, key string, body [][]byte, o object.PutOptions) (object.Info, error) {
	reader := buffers.NewReader(body)
	defer reader.Detach()
	size := reader.Size()
	in := &s3.PutObjectInput{
		Bucket: &b.name, Key: &key, Body: reader, ContentLength: &size, ChecksumCRC32C: aws.String(crcOf(body)),
		Metadata: metadata(o.Writer),
	}
	in.IfNoneMatch, in.IfMatch = conditions(o)
	out, err := b.client.PutObject(ctx, in, once, unsigned)
	if err != nil {
		return object.Info{}, b.refused(ctx, "put", key, o, err)
	}
	return made(key, size, aws.ToString(out.ETag), o.Writer, now(out.ResultMetadata)), nil
}

// made describes an object after the answer to its writer.
func made(key string, size int64, etag, writer string, at time.Time) object.Info {
	return object.Info{Key: key, Size: size, Modified: at, Version: etag, Writer: writer, Now: at}
}
