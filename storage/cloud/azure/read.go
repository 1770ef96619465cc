package azure

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/go-orbax/orbax/storage/cloud/internal/buffers"
	"github.com/go-orbax/orbax/storage/object"
)

// value returns what p points to, or the zero value: a field of an answer may be missing.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// versionOf returns the version of an ETag. Listings have ETags without quotes.
func versionOf(e *azcore.ETag) string { return strings.Trim(string(value(e)), `"`) }

// tagOf returns the ETag of a version, or nil if it is "".
func tagOf(version string) *azcore.ETag {
	if version == "" {
		return nil
	}
	tag := azcore.ETag(`"` + version + `"`)
	return &tag
}

// matching returns the condition that a blob has a version, or nil if it is "".
func matching(version string) *blob.AccessConditions {
	if version == "" {
		return nil
	}
	return &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfMatch: tagOf(version)}}
}

// writerOf returns the writer in the metadata of a blob. The client changes the case of
// their names.
func writerOf(metadata map[string]*string) string {
	for name, v := range metadata {
		if strings.EqualFold(name, writerName) {
			return value(v)
		}
	}
	return ""
}

func (b *bucket) Get(ctx context.Context, key, version string, p [][]byte, off int64) (int, object.Info, error) {
	length := buffers.Size(p)
	if length == 0 {
		info, err := b.stat(ctx, opGet, key, version)
		return 0, info, err
	}
	r, err := b.client.NewBlobClient(key).DownloadStream(once(ctx), &blob.DownloadStreamOptions{
		Range:            blob.HTTPRange{Offset: off, Count: length},
		AccessConditions: matching(version),
	})
	if isOutside(err) { // such an answer does not describe the object
		info, err := b.stat(ctx, opGet, key, version)
		if err == nil && info.Size > off {
			err = &object.Error{Op: opGet, Key: key, Temporary: true, Message: "the object has grown meanwhile", Err: object.ErrPrecondition}
		}
		return 0, info, err
	}
	if err != nil {
		return 0, object.Info{}, b.failed(ctx, opGet, key, err)
	}
	defer r.Body.Close()
	info := object.Info{
		Key:      key,
		Modified: value(r.LastModified),
		Version:  versionOf(r.ETag),
		Writer:   writerOf(r.Metadata),
		Now:      value(r.Date),
	}
	if info.Version == "" {
		return 0, object.Info{}, &object.Error{Op: opGet, Key: key, Message: "the answer has no ETag, so that parts of two versions cannot be held apart"}
	}
	start, size, err := rangeOf(r)
	if err != nil || start != off {
		return 0, object.Info{}, &object.Error{Op: opGet, Key: key, Message: "the answer is not the range that was asked for"}
	}
	info.Size = size
	n, err := buffers.Fill(p, r.Body, size-off)
	if err != nil {
		return n, info, b.failed(ctx, opGet, key, err)
	}
	return n, info, nil
}

// rangeOf returns where the bytes of an answer begin in the blob, and the size of the blob.
func rangeOf(r blob.DownloadStreamResponse) (start, size int64, err error) {
	if r.ContentRange == nil { // the whole blob
		return 0, value(r.ContentLength), nil
	}
	rest, ok := strings.CutPrefix(*r.ContentRange, "bytes ")
	span, total, ok2 := strings.Cut(rest, "/")
	first, _, ok3 := strings.Cut(span, "-")
	if !ok || !ok2 || !ok3 {
		return 0, 0, fmt.Errorf("Content-Range %q", *r.ContentRange)
	}
	start, err = strconv.ParseInt(first, 10, 64)
	if err == nil {
		size, err = strconv.ParseInt(total, 10, 64)
	}
	return start, size, err
}

func (b *bucket) Stat(ctx context.Context, key string) (object.Info, error) {
	return b.stat(ctx, opStat, key, "")
}

func (b *bucket) stat(ctx context.Context, op, key, version string) (object.Info, error) {
	r, err := b.client.NewBlobClient(key).GetProperties(once(ctx), &blob.GetPropertiesOptions{AccessConditions: matching(version)})
	if err != nil {
		return object.Info{}, b.failed(ctx, op, key, err)
	}
	return infoOf(key, r), nil
}

func infoOf(key string, r blob.GetPropertiesResponse) object.Info {
	return object.Info{
		Key:      key,
		Size:     value(r.ContentLength),
		Modified: value(r.LastModified),
		Version:  versionOf(r.ETag),
		Writer:   writerOf(r.Metadata),
		Now:      value(r.Date),
	}
}

// maxPage is the most entries of a page of Azure.
const maxPage = 5000

func (b *bucket) List(ctx context.Context, o object.ListOptions) (object.Page, error) {
	var limit *int32
	if o.Limit > 0 {
		limit = new(int32(min(o.Limit, maxPage)))
	}
	var token *string
	if o.Token != "" {
		token = &o.Token
	}
	var page object.Page
	var blobs []*container.BlobItem
	if o.Flat {
		r, err := b.client.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{
			Prefix: &o.Prefix, Marker: token, MaxResults: limit,
		}).NextPage(once(ctx))
		if err != nil {
			return page, b.failed(ctx, opList, o.Prefix, err)
		}
		if r.ServiceEndpoint == nil && r.ContainerName == nil {
			return page, noListing(o.Prefix)
		}
		page.Next, page.Now = value(r.NextMarker), value(r.Date)
		if r.Segment != nil {
			blobs = r.Segment.BlobItems
		}
	} else {
		r, err := b.client.NewListBlobsHierarchyPager("/", &container.ListBlobsHierarchyOptions{
			Prefix: &o.Prefix, Marker: token, MaxResults: limit,
		}).NextPage(once(ctx))
		if err != nil {
			return page, b.failed(ctx, opList, o.Prefix, err)
		}
		if r.ServiceEndpoint == nil && r.ContainerName == nil {
			return page, noListing(o.Prefix)
		}
		page.Next, page.Now = value(r.NextMarker), value(r.Date)
		if r.Segment != nil {
			blobs = r.Segment.BlobItems
			for _, p := range r.Segment.BlobPrefixes {
				if p != nil && p.Name != nil {
					page.Prefixes = append(page.Prefixes, *p.Name)
				}
			}
		}
	}
	page.Objects = objectsOf(blobs)
	slices.Sort(page.Prefixes)
	return page, nil
}

// noListing is the error of an answer that is something else than a listing, such as a web
// page. The client takes it for an empty one.
func noListing(prefix string) error {
	return &object.Error{Op: opList, Key: prefix, Message: "the answer is no listing; check the address of the service"}
}

// objectsOf returns the objects of a listing, in the order of their keys.
func objectsOf(blobs []*container.BlobItem) []object.Info {
	var all []object.Info
	for _, x := range blobs {
		if x == nil || x.Name == nil || x.Properties == nil {
			continue
		}
		all = append(all, object.Info{
			Key:      *x.Name,
			Size:     value(x.Properties.ContentLength),
			Modified: value(x.Properties.LastModified),
			Version:  versionOf(x.Properties.ETag),
		})
	}
	slices.SortFunc(all, func(a, b object.Info) int { return strings.Compare(a.Key, b.Key) })
	return all
}
