package gcs

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/go-orbax/orbax/storage/object"
)

func (b *bucketAPI) Put(ctx context.Context, key string, data [][]byte, o object.PutOptions) (object.Info, error) {
	r, now, err := b.insert(ctx, opPut, key, data, crcOf(data), attributesOf(o), conditions(url.Values{}, o))
	if err != nil {
		return object.Info{}, err
	}
	info := r.info(now)
	info.Key = key
	return info, nil
}

// insert makes an object in one request. The service checks its CRC32C, which is crc.
func (b *bucketAPI) insert(ctx context.Context, op, key string, data [][]byte, crc uint32, a attributes, query url.Values) (made resource, now time.Time, err error) {
	a.Name, a.CRC32C = key, crcText(crc)
	r := request{op: op, key: key, method: http.MethodPost, path: "/upload/storage/v1/b/" + b.bucket + "/o", query: query}
	query.Set("uploadType", "multipart")
	query.Set("name", key)
	query.Set("fields", resourceFields)
	content, contentType, err := multipartBody(a, data)
	if err != nil {
		return made, now, err
	}
	r.body, r.header = content, http.Header{"Content-Type": {contentType}}
	now, err = b.ask(ctx, r, &made)
	return made, now, err
}

// Copy asks again as long as the service has copied only a part.
func (b *bucketAPI) Copy(ctx context.Context, from object.Ref, to string, o object.PutOptions) (object.Info, error) {
	query := conditions(url.Values{"fields": {"done,rewriteToken,resource(" + resourceFields + ")"}}, o)
	if from.Version != "" {
		query.Set("ifSourceGenerationMatch", generationOf(from.Version))
	}
	r := request{op: opCopy, key: from.Key, method: http.MethodPost, query: query,
		path: b.objectPath(from.Key) + "/rewriteTo/b/" + b.bucket + "/o/" + url.PathEscape(to)}
	if o.Writer != "" { // without attributes the copy has those of the source
		var err error
		if r.body, err = jsonBody(attributesOf(o)); err != nil {
			return object.Info{}, err
		}
		r.header = jsonHeader
	}
	for {
		var answer struct {
			Done         bool
			RewriteToken string
			Resource     resource
		}
		now, err := b.ask(ctx, r, &answer)
		if err != nil {
			return object.Info{}, err
		}
		if answer.Done {
			info := answer.Resource.info(now)
			info.Key = to
			return info, nil
		}
		query.Set("rewriteToken", answer.RewriteToken)
	}
}
