package gcs

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/go-orbax/orbax/internal/parallel"
	"github.com/go-orbax/orbax/storage/object"
)

// maxBatch is how many requests the service takes in one batch. batches is how many batches
// are sent at the same time: each makes the service work on up to maxBatch requests.
const (
	maxBatch = 100
	batches  = 8
)

func (b *bucketAPI) Delete(ctx context.Context, refs []object.Ref) error {
	if len(refs) == 1 {
		r := b.deletion(refs[0])
		answer, err := b.send(ctx, r)
		if err != nil {
			return ignoreGone(err)
		}
		return answer.Body.Close()
	}
	group, ctx := parallel.WithContext(ctx)
	group.SetLimit(batches)
	for chunk := range slices.Chunk(refs, maxBatch) {
		group.Go(func() error { return b.deleteBatch(ctx, chunk) })
	}
	return group.Wait()
}

// deletion returns the request that deletes an object.
func (b *bucketAPI) deletion(ref object.Ref) request {
	r := request{op: opDelete, key: ref.Key, method: http.MethodDelete, path: b.objectPath(ref.Key)}
	if ref.Version != "" {
		r.query = url.Values{"ifGenerationMatch": {generationOf(ref.Version)}}
	}
	return r
}

// ignoreGone returns nil for the error of an object that is missing or has another version.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, object.ErrPrecondition) {
		return nil
	}
	return err
}

// deleteBatch deletes up to maxBatch objects in one request.
func (b *bucketAPI) deleteBatch(ctx context.Context, refs []object.Ref) error {
	var random [24]byte
	rand.Read(random[:])
	boundary := "orbax-" + hex.EncodeToString(random[:])
	var text bytes.Buffer
	for i, ref := range refs {
		r := b.deletion(ref)
		target := r.path
		if len(r.query) > 0 {
			target += "?" + r.query.Encode()
		}
		fmt.Fprintf(&text, "--%s\r\nContent-Type: application/http\r\nContent-ID: <orbax+%d>\r\n\r\nDELETE %s HTTP/1.1\r\n\r\n\r\n", boundary, i, target)
	}
	fmt.Fprintf(&text, "--%s--\r\n", boundary)
	whole := request{op: opDelete, key: refs[0].Key, method: http.MethodPost, path: "/batch/storage/v1",
		header: http.Header{"Content-Type": {"multipart/mixed; boundary=" + boundary}}, body: [][]byte{text.Bytes()}}
	answer, err := b.send(ctx, whole)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, kind, err := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	if err != nil || kind["boundary"] == "" {
		return b.broken(ctx, whole, errors.New("the answer to a batch is not multipart"))
	}
	token := ""
	if answer.Request != nil {
		token = answer.Request.Header.Get("Authorization")
	}
	answered := make([]bool, len(refs))
	var worst error
	parts := multipart.NewReader(answer.Body, kind["boundary"])
	for {
		part, err := parts.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return b.broken(ctx, whole, err)
		}
		// <response-orbax+3>
		_, number, _ := strings.Cut(strings.Trim(part.Header.Get("Content-ID"), "<>"), "orbax+")
		i, err := strconv.Atoi(number)
		if err != nil || i < 0 || i >= len(refs) {
			return b.broken(ctx, whole, errors.New("the answer to a batch has an unknown part"))
		}
		answered[i] = true
		one, err := http.ReadResponse(bufio.NewReader(part), nil)
		if err != nil {
			return b.broken(ctx, whole, err)
		}
		text, err := io.ReadAll(io.LimitReader(one.Body, 64<<10))
		if err != nil && one.StatusCode/100 == 2 { // no body has been promised for it
			err = nil
		}
		if one.StatusCode/100 != 2 {
			worst = worse(worst, ignoreGone(b.refusal(b.deletion(refs[i]), one.StatusCode, one.Header, text, token)))
		}
	}
	if i := slices.Index(answered, false); i >= 0 {
		worst = worse(worst, b.broken(ctx, b.deletion(refs[i]), errors.New("the answer to a batch lacks this deletion")))
	}
	return worst
}

// worse returns the error to report of two: rather one that does not go away.
func worse(a, b error) error {
	var e *object.Error
	if a == nil || b != nil && errors.As(a, &e) && e.Temporary {
		return b
	}
	return a
}
