package azure

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/go-orbax/orbax/storage/cloud/internal/buffers"
	"github.com/go-orbax/orbax/storage/object"
)

// upload is a blob whose blocks are being uploaded. All writers of a key share its blocks
// that are not committed, so their names begin with a random text.
type upload struct {
	b      *bucket
	client *blockblob.Client
	key    string
	o      object.PutOptions
	mark   string

	mu    sync.Mutex
	sizes map[int]int64 // of the parts that have been uploaded, by number
	tried bool          // a part was sent
	ended bool          // by Complete or Abort
	info  object.Info   // of Complete
}

// Upload sends no request.
func (b *bucket) Upload(ctx context.Context, key string, _ int64, o object.PutOptions) (object.Upload, error) {
	if err := ctx.Err(); err != nil {
		return nil, b.failed(ctx, opUpload, key, err)
	}
	if err := checkKey(opUpload, key); err != nil {
		return nil, err
	}
	var random [8]byte
	rand.Read(random[:])
	return &upload{
		b: b, client: b.client.NewBlockBlobClient(key), key: key, o: o,
		mark: hex.EncodeToString(random[:]), sizes: map[int]int64{},
	}, nil
}

// block returns the name of the block of a part. All blocks of a blob have names of the same
// length.
func (u *upload) block(number int) string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%s-%06d", u.mark, number))
}

// mine reports whether a block is one of this upload.
func (u *upload) mine(block string) bool {
	name, err := base64.StdEncoding.DecodeString(block)
	return err == nil && strings.HasPrefix(string(name), u.mark+"-")
}

func (u *upload) Part(ctx context.Context, number int, _ int64, body [][]byte) error {
	if number < 1 || number > u.b.Limits().MaxParts {
		return &object.Error{Op: opUpload, Key: u.key, Message: fmt.Sprintf("part %d: Azure has parts 1 to %d", number, u.b.Limits().MaxParts)}
	}
	u.mu.Lock()
	ended := u.ended
	u.tried = true
	u.mu.Unlock()
	if ended {
		return u.over()
	}
	reader := buffers.NewReader(body)
	defer reader.Detach()
	if reader.Size() > 0 { // Azure has no empty blocks
		_, err := u.client.StageBlock(once(ctx), u.block(number), reader, &blockblob.StageBlockOptions{TransactionalValidation: checksum(body)})
		if err != nil {
			return u.b.failed(ctx, opUpload, u.key, err)
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.sizes[number] = reader.Size()
	return nil
}

// over is the error of a use after Abort or Complete.
func (u *upload) over() error {
	return &object.Error{Op: opUpload, Key: u.key, Message: "the upload has ended"}
}

func (u *upload) Complete(ctx context.Context) (object.Info, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended && u.info.Key != "" {
		return u.info, nil
	}
	if u.ended {
		return object.Info{}, u.over()
	}
	var blocks []string
	var size int64
	for _, number := range slices.Sorted(maps.Keys(u.sizes)) {
		if u.sizes[number] > 0 {
			blocks = append(blocks, u.block(number))
			size += u.sizes[number]
		}
	}
	r, err := u.client.CommitBlockList(once(ctx), blocks, &blockblob.CommitBlockListOptions{Metadata: metadata(u.o), AccessConditions: conditions(u.o)})
	if bloberror.HasCode(err, bloberror.InvalidBlockList) {
		return object.Info{}, u.lost(ctx, blocks, err)
	}
	if err != nil {
		return object.Info{}, u.b.refusedList(ctx, u.key, err)
	}
	u.ended = true
	u.info = object.Info{
		Key:      u.key,
		Size:     size,
		Modified: value(r.LastModified),
		Version:  versionOf(r.ETag),
		Writer:   u.o.Writer,
		Now:      value(r.Date),
	}
	return u.info, nil
}

// refusedList returns the error of a list of blocks. A refusal without a reason is that of XML
// that was damaged on its way: the service has accepted other requests before.
func (b *bucket) refusedList(ctx context.Context, key string, err error) error {
	err = b.failed(ctx, opUpload, key, err)
	var e *object.Error
	if errors.As(err, &e) && e.Status == http.StatusBadRequest && e.Code == "" {
		e.Temporary, e.Message = true, damaged
	}
	return err
}

// lost returns the error of an upload whose blocks are gone, as the service says. Azure
// removes the blocks of all writers of a key when one of them makes the object. If the blocks
// are there, the list was damaged on its way.
func (u *upload) lost(ctx context.Context, blocks []string, err error) error {
	if r, lerr := u.client.GetBlockList(once(ctx), blockblob.BlockListTypeUncommitted, nil); lerr == nil {
		there := map[string]bool{}
		for _, x := range r.UncommittedBlocks {
			if x != nil {
				there[value(x.Name)] = true
			}
		}
		if !slices.ContainsFunc(blocks, func(block string) bool { return !there[block] }) {
			return &object.Error{Op: opUpload, Key: u.key, Temporary: true, Message: damaged}
		}
	}
	failure := u.b.failed(ctx, opUpload, u.key, err)
	if !u.o.IfAbsent && u.o.IfVersion == "" {
		return failure
	}
	now, err := u.b.stat(ctx, opUpload, u.key, "")
	switch {
	case err == nil && (u.o.IfAbsent || now.Version != u.o.IfVersion):
		return &object.Error{Op: opUpload, Key: u.key, Err: object.ErrPrecondition}
	case isTemporary(err):
		return err
	}
	return failure
}

func isTemporary(err error) bool {
	var e *object.Error
	return errors.As(err, &e) && e.Temporary
}

// Abort removes the blocks, unless another writer uploads to the same key, or there is an
// object: then Azure removes them when the next object is made there, or after a week.
func (u *upload) Abort(ctx context.Context) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended {
		return nil
	}
	if u.tried {
		r, err := u.client.GetBlockList(once(ctx), blockblob.BlockListTypeAll, nil)
		switch {
		case bloberror.HasCode(err, bloberror.BlobNotFound): // nothing was uploaded
		case err != nil:
			return u.b.failed(ctx, opUpload, u.key, err)
		case u.allMine(r.UncommittedBlocks):
			if err := u.b.dropBlocks(ctx, u.key); err != nil {
				return err
			}
		}
	}
	u.ended = true
	return nil
}

// allMine reports whether all blocks are those of this upload.
func (u *upload) allMine(blocks []*blockblob.Block) bool {
	for _, x := range blocks {
		if x == nil || !u.mine(value(x.Name)) {
			return false
		}
	}
	return true
}

// dropBlocks removes the blocks of a key without an object. No request does that, so it
// makes an empty object, which drops them, and deletes it.
func (b *bucket) dropBlocks(ctx context.Context, key string) error {
	r, err := b.client.NewBlockBlobClient(key).CommitBlockList(once(ctx), nil, &blockblob.CommitBlockListOptions{AccessConditions: conditions(object.PutOptions{IfAbsent: true})})
	if err != nil {
		err = b.refusedList(ctx, key, err)
		if errors.Is(err, object.ErrPrecondition) {
			return nil // there is an object
		}
		return err
	}
	return b.Delete(ctx, []object.Ref{{Key: key, Version: versionOf(r.ETag)}})
}

func (b *bucket) AbortUploads(ctx context.Context, prefix string) error {
	pager := b.client.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{
		Prefix: &prefix, Include: container.ListBlobsInclude{UncommittedBlobs: true},
	})
	for pager.More() {
		r, err := pager.NextPage(once(ctx))
		if err != nil {
			return b.failed(ctx, opList, prefix, err)
		}
		if r.Segment == nil {
			continue
		}
		for _, x := range objectsOf(r.Segment.BlobItems) {
			if x.Size > 0 { // an object; one without bytes looks like one without commit
				continue
			}
			if err := b.dropBlocks(ctx, x.Key); err != nil {
				return err
			}
		}
	}
	return nil
}
