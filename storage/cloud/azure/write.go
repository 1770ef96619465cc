package azure

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage/cloud/internal/buffers"
	"github.com/go-orbax/orbax/storage/object"
)

// writerName is the name of PutOptions.Writer in the metadata of a blob. Azure wants names
// that are identifiers of C#, so it has no hyphen.
const writerName = "orbaxwriter"

// metadata returns the metadata of a blob, or nil if there are none.
func metadata(o object.PutOptions) map[string]*string {
	if o.Writer == "" {
		return nil
	}
	return map[string]*string{writerName: &o.Writer}
}

// conditions returns the conditions of a write.
func conditions(o object.PutOptions) *blob.AccessConditions {
	c := &blob.ModifiedAccessConditions{IfMatch: tagOf(o.IfVersion)}
	if o.IfAbsent {
		c.IfNoneMatch = new(azcore.ETagAny)
	}
	return &blob.AccessConditions{ModifiedAccessConditions: c}
}

// checkKey returns an error if Azure would store an object under another key: it removes
// dots at the ends of path elements, and replaces backslashes.
func checkKey(op, key string) error {
	why := ""
	switch {
	case strings.HasSuffix(key, ".") || strings.Contains(key, "./"):
		why = "a path element that ends in a dot"
	case strings.Contains(key, `\`):
		why = "a backslash"
	case strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r == 0x7f }):
		why = "a control character"
	default:
		return nil
	}
	return &object.Error{Op: op, Key: key, Err: fmt.Errorf("%w: Azure cannot keep a name with %s; choose another name", fault.ErrReservedName, why)}
}

func (b *bucket) Put(ctx context.Context, key string, body [][]byte, o object.PutOptions) (object.Info, error) {
	if err := checkKey(opPut, key); err != nil {
		return object.Info{}, err
	}
	reader := buffers.NewReader(body)
	defer reader.Detach()
	r, err := b.client.NewBlockBlobClient(key).Upload(once(ctx), reader, &blockblob.UploadOptions{
		Metadata:                metadata(o),
		TransactionalValidation: checksum(body),
		AccessConditions:        conditions(o),
	})
	if err != nil {
		return object.Info{}, b.failed(ctx, opPut, key, err)
	}
	return object.Info{
		Key:      key,
		Size:     reader.Size(),
		Modified: value(r.LastModified),
		Version:  versionOf(r.ETag),
		Writer:   o.Writer,
		Now:      value(r.Date),
	}, nil
}

// Copy uses the request that Azure may finish later: of the requests that copy, it alone
// accepts a private source with every kind of credentials.
func (b *bucket) Copy(ctx context.Context, from object.Ref, to string, o object.PutOptions) (object.Info, error) {
	if err := checkKey(opCopy, to); err != nil {
		return object.Info{}, err
	}
	r, err := b.client.NewBlobClient(to).StartCopyFromURL(once(ctx), b.client.NewBlobClient(from.Key).URL(), &blob.StartCopyFromURLOptions{
		Metadata:                       metadata(o),
		AccessConditions:               conditions(o),
		SourceModifiedAccessConditions: &blob.SourceModifiedAccessConditions{SourceIfMatch: tagOf(from.Version)},
	})
	if err != nil {
		return object.Info{}, b.failed(ctx, opCopy, from.Key, err)
	}
	if value(r.CopyStatus) != blob.CopyStatusTypeSuccess {
		return b.copied(ctx, to, value(r.CopyID))
	}
	return object.Info{
		Key:      to,
		Modified: value(r.LastModified),
		Version:  versionOf(r.ETag),
		Writer:   o.Writer,
		Now:      value(r.Date),
	}, nil
}

// firstPoll and lastPoll are the times between two looks at a copy.
const (
	firstPoll = 50 * time.Millisecond
	lastPoll  = 2 * time.Second
)

// copied waits until a copy is finished that has taken longer than its request, and describes
// its target.
func (b *bucket) copied(ctx context.Context, key, id string) (object.Info, error) {
	for wait := firstPoll; ; wait = min(2*wait, lastPoll) {
		r, err := b.client.NewBlobClient(key).GetProperties(once(ctx), nil)
		status := value(r.CopyStatus)
		switch {
		case err != nil:
			err = b.failed(ctx, opCopy, key, err)
		case value(r.CopyID) != id:
			return object.Info{}, &object.Error{Op: opCopy, Key: key, Err: object.ErrPrecondition}
		case status == blob.CopyStatusTypeSuccess:
			return infoOf(key, r), nil
		case status != blob.CopyStatusTypePending: // the target is there, without bytes
			b.remove(ctx, key, versionOf(r.ETag))
			return object.Info{}, &object.Error{Op: opCopy, Key: key, Temporary: true, Message: b.clean(fmt.Sprintf("the copy is %s: %s", status, value(r.CopyStatusDescription)))}
		default:
			select {
			case <-time.After(wait):
				continue
			case <-ctx.Done():
				err = b.failed(ctx, opCopy, key, ctx.Err())
			}
		}
		if ctx.Err() != nil {
			b.abandon(ctx, key, id)
		}
		return object.Info{}, err
	}
}

// abandon ends a copy, and removes the empty blob that it leaves.
func (b *bucket) abandon(ctx context.Context, key, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
	defer cancel()
	target := b.client.NewBlobClient(key)
	if _, err := target.AbortCopyFromURL(once(ctx), id, nil); err != nil {
		return // it is finished
	}
	r, err := target.GetProperties(once(ctx), nil)
	if err == nil && value(r.CopyID) == id {
		b.remove(ctx, key, versionOf(r.ETag))
	}
}

// cleanTime is how long the requests may take that remove what a copy has left.
const cleanTime = 10 * time.Second

// remove removes a version of an object, if it can.
func (b *bucket) remove(ctx context.Context, key, version string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
	defer cancel()
	b.Delete(ctx, []object.Ref{{Key: key, Version: version}})
}
