package gcs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-orbax/orbax/storage/cloud/internal/buffers"
	"github.com/go-orbax/orbax/storage/object"
)

// Get uses the XML interface: only there has an answer with the bytes of an object its user
// metadata too.
func (b *bucketAPI) Get(ctx context.Context, key, version string, p [][]byte, off int64) (int, object.Info, error) {
	length := buffers.Size(p)
	if length == 0 {
		info, err := b.statVersion(ctx, opGet, key, version)
		return 0, info, err
	}
	r := request{op: opGet, key: key, method: http.MethodGet, path: b.xmlPath(key), header: http.Header{
		"Range": {fmt.Sprintf("bytes=%d-%d", off, off+length-1)},
		// Otherwise the service unpacks an object that is stored with the encoding gzip, and
		// ignores the range.
		"Accept-Encoding": {"gzip"},
	}}
	if version != "" {
		r.header.Set("X-Goog-If-Generation-Match", generationOf(version))
	}
	answer, err := b.send(ctx, r, http.StatusRequestedRangeNotSatisfiable)
	if err != nil {
		return 0, object.Info{}, err
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		info, err := b.statVersion(ctx, opGet, key, version)
		if err == nil && info.Size > off {
			err = &object.Error{Op: opGet, Key: key, Message: "the object has grown while it was read", Temporary: true}
		}
		return 0, info, err
	}
	info, err := described(key, answer, off)
	if err != nil {
		return 0, object.Info{}, b.broken(ctx, r, err)
	}
	n, err := buffers.Fill(p, answer.Body, info.Size-off)
	if err != nil {
		return n, info, b.broken(ctx, r, err)
	}
	if int64(n) == info.Size && !isIntact(p, n, answer.Header) {
		return 0, info, &object.Error{Op: opGet, Key: key, Message: "the bytes were damaged on their way: their CRC32C is not that of the object", Temporary: true}
	}
	return n, info, nil
}

// described returns what the header of an answer says about the object, whose bytes begin
// at off in the answer.
func described(key string, answer *http.Response, off int64) (object.Info, error) {
	h := answer.Header
	info := object.Info{Key: key, Size: answer.ContentLength, Version: h.Get("X-Goog-Generation"), Writer: h.Get("X-Goog-Meta-" + writerKey), Now: dateOf(answer)}
	info.Modified, _ = http.ParseTime(h.Get("Last-Modified"))
	if info.Version == "" {
		return info, errors.New("the answer has no generation")
	}
	if answer.StatusCode != http.StatusPartialContent {
		if off != 0 || info.Size < 0 {
			return info, errors.New("the answer is not the range of bytes that was asked for")
		}
		return info, nil
	}
	// bytes 0-9/100
	span, size, _ := strings.Cut(strings.TrimPrefix(h.Get("Content-Range"), "bytes "), "/")
	first, _, _ := strings.Cut(span, "-")
	total, err := strconv.ParseInt(size, 10, 64)
	if first != strconv.FormatInt(off, 10) || err != nil || total < 0 {
		return info, errors.New("the answer is not the range of bytes that was asked for")
	}
	info.Size = total
	return info, nil
}

// isIntact reports whether the n bytes of a whole object, in the buffers of p, have the CRC
// that the header states.
func isIntact(p [][]byte, n int, header http.Header) bool {
	var whole [][]byte
	for _, b := range p {
		b = b[:min(len(b), n)]
		whole, n = append(whole, b), n-len(b)
	}
	for _, value := range header.Values("X-Goog-Hash") {
		for hash := range strings.SplitSeq(value, ",") {
			if crc, ok := strings.CutPrefix(strings.TrimSpace(hash), "crc32c="); ok {
				return crc == crcText(crcOf(whole))
			}
		}
	}
	return true
}

func (b *bucketAPI) Stat(ctx context.Context, key string) (object.Info, error) {
	return b.statVersion(ctx, opStat, key, "")
}

// statVersion describes an object. It fails if version is not "" and not that of the object.
func (b *bucketAPI) statVersion(ctx context.Context, op, key, version string) (object.Info, error) {
	r, now, err := b.resource(ctx, op, key)
	if err != nil {
		return object.Info{}, err
	}
	if version != "" && version != r.Generation {
		return object.Info{}, &object.Error{Op: op, Key: key, Err: object.ErrPrecondition}
	}
	info := r.info(now)
	info.Key = key
	return info, nil
}

// resource returns what the service reports of an object, and the time of the answer.
func (b *bucketAPI) resource(ctx context.Context, op, key string) (r resource, now time.Time, err error) {
	ask := request{op: op, key: key, method: http.MethodGet, path: b.objectPath(key), query: url.Values{"fields": {resourceFields}}}
	now, err = b.ask(ctx, ask, &r)
	return r, now, err
}

// List leaves out the parts of uploads, as services do whose uploads have parts of their own.
func (b *bucketAPI) List(ctx context.Context, o object.ListOptions) (object.Page, error) {
	for {
		page, err := b.list(ctx, o)
		page.Objects = slices.DeleteFunc(page.Objects, func(i object.Info) bool { return isPart(i.Key) })
		page.Prefixes = slices.DeleteFunc(page.Prefixes, isPartsDir)
		if err != nil || page.Next == "" || len(page.Objects)+len(page.Prefixes) > 0 {
			return page, err
		}
		o.Token = page.Next
	}
}

// list returns a page with the parts of uploads.
func (b *bucketAPI) list(ctx context.Context, o object.ListOptions) (object.Page, error) {
	query := url.Values{"prefix": {o.Prefix}, "fields": {"kind,items(name,size,generation,timeCreated),prefixes,nextPageToken"}}
	if !o.Flat {
		query.Set("delimiter", "/")
	}
	if o.Token != "" {
		query.Set("pageToken", o.Token)
	}
	if o.Limit > 0 {
		query.Set("maxResults", strconv.Itoa(o.Limit))
	}
	var answer struct {
		Kind          string
		Items         []resource
		Prefixes      []string
		NextPageToken string
	}
	r := request{op: opList, key: o.Prefix, method: http.MethodGet, path: "/storage/v1/b/" + b.bucket + "/o", query: query}
	now, err := b.ask(ctx, r, &answer)
	if err != nil {
		return object.Page{}, err
	}
	if answer.Kind != "storage#objects" { // JSON of something else would be an empty listing
		return object.Page{}, &object.Error{Op: opList, Key: o.Prefix, Message: "the answer is no listing; check the address of the service"}
	}
	page := object.Page{Prefixes: answer.Prefixes, Next: answer.NextPageToken, Now: now}
	for _, item := range answer.Items {
		page.Objects = append(page.Objects, item.info(time.Time{}))
	}
	return page, nil
}
