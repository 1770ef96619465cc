package s3

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"

	"github.com/go-orbax/orbax/storage/cloud/internal/buffers"
	"github.com/go-orbax/orbax/storage/object"
)

// writerKey is the name of the user metadata with the writer of an object.
const writerKey = "orbax-writer"

// optional returns nil for "".
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// now returns the time of an answer by the clock of the service.
func now(m middleware.Metadata) time.Time {
	t, ok := awsmiddleware.GetServerTime(m)
	if !ok {
		return time.Time{}
	}
	return t
}

// Get implements [object.Bucket].
func (b *bucket) Get(ctx context.Context, key, version string, p [][]byte, off int64) (int, object.Info, error) {
	wanted := buffers.Size(p)
	if wanted == 0 {
		info, err := b.stat(ctx, "get", key, version)
		return 0, info, err
	}
	out, err := b.client.GetObject(ctx, &s3.GetObjectInput{
		Bucket: &b.name, Key: &key, IfMatch: optional(version),
		Range: aws.String(fmt.Sprintf("bytes=%d-%d", off, off+wanted-1)),
	}, once)
	if err != nil {
		err = b.failed(ctx, "get", key, err)
		var answer *object.Error
		if errors.As(err, &answer) && answer.Status == http.StatusRequestedRangeNotSatisfiable { // it does not describe the object
			info, err := b.stat(ctx, "get", key, version)
			if err == nil && info.Size > off {
				err = &object.Error{Op: "get", Key: key, Temporary: true, Message: "the object has grown", Err: object.ErrPrecondition}
			}
			return 0, info, err
		}
		return 0, object.Info{}, err
	}
	defer out.Body.Close()
	length := aws.ToInt64(out.ContentLength)
	info := object.Info{
		Key: key, Size: length, Modified: aws.ToTime(out.LastModified), Version: aws.ToString(out.ETag),
		Writer: out.Metadata[writerKey], Now: now(out.ResultMetadata),
	}
	if info.Version == "" {
		return 0, info, &object.Error{Op: "get", Key: key, Message: "the service sends no ETag, so that the parts of an object cannot be told from those of another version"}
	}
	if out.ContentRange == nil { // the service sends the whole object
		if _, err := io.CopyN(io.Discard, out.Body, off); err != nil {
			if errors.Is(err, io.EOF) && off >= length {
				return 0, info, nil
			}
			return 0, info, b.failed(ctx, "get", key, err)
		}
		length -= off
	} else if info.Size, err = totalSize(*out.ContentRange, off); err != nil {
		return 0, info, &object.Error{Op: "get", Key: key, Temporary: true, Err: err}
	} else {
		length = info.Size - off // an answer in chunks has no Content-Length
	}
	n, err := buffers.Fill(p, out.Body, min(wanted, length))
	if err != nil {
		return n, info, b.failed(ctx, "get", key, err)
	}
	return n, info, nil
}

// totalSize returns the size of the object from the header Content-Range, such as
// "bytes 10-19/100", of a range that begins at off.
func totalSize(header string, off int64) (int64, error) {
	unit, rest, _ := strings.Cut(header, " ")
	from, rest, _ := strings.Cut(rest, "-")
	_, total, _ := strings.Cut(rest, "/")
	size, err := strconv.ParseInt(total, 10, 64)
	if start, serr := strconv.ParseInt(from, 10, 64); err != nil || serr != nil || unit != "bytes" || start != off || size < 0 {
		return 0, errors.New("the service sends another range than the one that was asked for")
	}
	return size, nil
}

// Stat implements [object.Bucket].
func (b *bucket) Stat(ctx context.Context, key string) (object.Info, error) {
	return b.stat(ctx, "stat", key, "")
}

func (b *bucket) stat(ctx context.Context, op, key, version string) (object.Info, error) {
	out, err := b.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b.name, Key: &key, IfMatch: optional(version)}, once)
	if err != nil {
		return object.Info{}, b.failed(ctx, op, key, err)
	}
	return object.Info{
		Key: key, Size: aws.ToInt64(out.ContentLength), Modified: aws.ToTime(out.LastModified), Version: aws.ToString(out.ETag),
		Writer: out.Metadata[writerKey], Now: now(out.ResultMetadata),
	}, nil
}

// pageSize is the most entries of a page.
const pageSize = 1000

// List implements [object.Bucket].
func (b *bucket) List(ctx context.Context, o object.ListOptions) (object.Page, error) {
	in := &s3.ListObjectsV2Input{
		Bucket: &b.name, Prefix: optional(o.Prefix), ContinuationToken: optional(o.Token),
		MaxKeys: aws.Int32(int32(min(cmp.Or(max(o.Limit, 0), pageSize), pageSize))),
	}
	if !o.Flat {
		in.Delimiter = aws.String("/")
	}
	out, err := b.client.ListObjectsV2(ctx, in, once)
	if err != nil {
		return object.Page{}, b.failed(ctx, "list", o.Prefix, err)
	}
	if out.Name == nil && out.IsTruncated == nil && out.KeyCount == nil { // such as a web page, which the client takes for an empty listing
		return object.Page{}, &object.Error{Op: "list", Key: o.Prefix, Message: "the answer is no listing; check AWS_ENDPOINT_URL"}
	}
	b.noteService(out.ResultMetadata)
	page := object.Page{Now: now(out.ResultMetadata)}
	for _, c := range out.Contents {
		page.Objects = append(page.Objects, object.Info{
			Key: aws.ToString(c.Key), Size: aws.ToInt64(c.Size), Modified: aws.ToTime(c.LastModified), Version: aws.ToString(c.ETag),
		})
	}
	for _, p := range out.CommonPrefixes {
		page.Prefixes = append(page.Prefixes, aws.ToString(p.Prefix))
	}
	if aws.ToBool(out.IsTruncated) {
		page.Next = aws.ToString(out.NextContinuationToken)
	}
	return page, nil
}
