package gcs

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/parallel"
	"github.com/go-orbax/orbax/storage/object"
)

// upload is an object that is being made of part objects. The service has an upload in
// parts of its own, in its XML interface, but no conditions for it.
type upload struct {
	b   *bucketAPI
	key string
	o   object.PutOptions
	id  string
	dir string // of the keys of the parts, with a slash

	// working is held by each Part, and alone by Complete and Abort.
	working sync.RWMutex
	ended   bool // no part may be added
	made    *object.Info
	cleaned bool // the parts are deleted

	mu    sync.Mutex
	parts map[int]*part
	keys  []string // of all objects that the upload may have made, except its own
	tries int      // of Part
}

// part is an object of which a greater one is composed.
type part struct {
	off, size  int64
	crc        uint32
	key        string
	generation string
}

// Upload sends no request.
func (b *bucketAPI) Upload(_ context.Context, key string, _ int64, o object.PutOptions) (object.Upload, error) {
	id := randomID()
	return &upload{b: b, key: key, o: o, id: id, dir: partsDir(key, id), parts: map[int]*part{}}, nil
}

// randomID returns 16 hexadecimal digits, not all of them decimal.
func randomID() string {
	for {
		var random [8]byte
		rand.Read(random[:])
		if id := hex.EncodeToString(random[:]); strings.ContainsAny(id, "abcdef") {
			return id
		}
	}
}

// maxKey is how many bytes a key may have. partsMark is in the name of a directory of parts,
// partName begins the names of parts, and partRoom
// is the most that the key of a part has after the beginning of that of its object.
const (
	maxKey    = 1024
	partsMark = ".orbax-upload-"
	partName  = "orbax-part-"
	partRoom  = len(partsMark) + 16 + 1 + len(partName) + 20
)

// isPart reports whether a key is that of a part of some upload.
func isPart(key string) bool {
	dir, name := path.Split(key)
	return isPartsDir(dir) && strings.HasPrefix(name, partName)
}

var partsDirName = regexp.MustCompile(regexp.QuoteMeta(partsMark) + `[0-9a-f]{16}/$`)

// isPartsDir reports whether a directory, with a slash at its end, has the parts of an
// upload.
func isPartsDir(dir string) bool { return partsDirName.MatchString(dir) }

// partsDir returns the directory of the parts of an object, with a slash at its end. It is
// beside the object.
func partsDir(key, id string) string {
	dir, base := path.Split(key)
	if cut := maxKey - partRoom - len(dir); cut > 0 && len(base) > cut {
		for cut > 0 && !utf8.RuneStart(base[cut]) {
			cut--
		}
		base = base[:cut]
	}
	return dir + base + partsMark + id + "/"
}

// errEnded returns the error of a call after the end of the upload.
func (u *upload) errEnded() error {
	return &object.Error{Op: opUpload, Key: u.key, Message: "the upload has ended"}
}

func (u *upload) Part(ctx context.Context, number int, off int64, data [][]byte) error {
	u.working.RLock()
	defer u.working.RUnlock()
	if u.ended {
		return u.errEnded()
	}
	if limit := u.b.Limits().MaxParts; number < 1 || number > limit {
		return fmt.Errorf("%w: %s %s: part %d; the numbers are 1 to %d", fault.ErrUsage, opUpload, u.key, number, limit)
	}
	// Each try has a key of its own: an earlier one may still arrive.
	u.mu.Lock()
	u.tries++
	key := fmt.Sprintf("%s%s%d-%d", u.dir, partName, number, u.tries)
	u.keys = append(u.keys, key)
	u.mu.Unlock()

	p := &part{off: off, crc: crcOf(data), key: key}
	for _, buf := range data {
		p.size += int64(len(buf))
	}
	r, _, err := u.b.insert(ctx, opUpload, key, data, p.crc, attributesOf(object.PutOptions{}), url.Values{})
	if err != nil {
		return err
	}
	p.generation = r.Generation
	if err := p.check(r, opUpload, key); err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.parts[number] = p
	return nil
}

// check compares a part with what the service reports of it.
func (p *part) check(r resource, op, key string) error {
	if r.Size != p.size || r.CRC32C != crcText(p.crc) {
		return &object.Error{Op: op, Key: key, Temporary: true,
			Message: fmt.Sprintf("the service has %d bytes with the CRC32C %s, not the %d bytes with %s that were sent", r.Size, r.CRC32C, p.size, crcText(p.crc))}
	}
	return nil
}

func (u *upload) Complete(ctx context.Context) (object.Info, error) {
	u.working.Lock()
	defer u.working.Unlock()
	if u.ended && u.made == nil {
		return object.Info{}, u.errEnded()
	}
	if u.made == nil {
		info, err := u.compose(ctx)
		if err != nil {
			return object.Info{}, err
		}
		u.made, u.ended = &info, true
	}
	if err := u.clean(ctx); err != nil {
		return object.Info{}, err
	}
	return *u.made, nil
}

// AbortUploads deletes the objects below the prefix that are parts.
func (b *bucketAPI) AbortUploads(ctx context.Context, prefix string) error {
	o := object.ListOptions{Prefix: prefix, Flat: true}
	for {
		page, err := b.list(ctx, o)
		if err != nil {
			return err
		}
		var parts []object.Ref
		for _, info := range page.Objects {
			if isPart(info.Key) {
				parts = append(parts, object.Ref{Key: info.Key, Version: info.Version})
			}
		}
		if err := b.Delete(ctx, parts); err != nil {
			return err
		}
		if o.Token = page.Next; o.Token == "" {
			return nil
		}
	}
}

func (u *upload) Abort(ctx context.Context) error {
	u.working.Lock()
	defer u.working.Unlock()
	if ctx.Err() != nil {
		return &object.Error{Op: opUpload, Key: u.key, Err: ctx.Err()}
	}
	u.ended = true
	return u.clean(ctx)
}

// clean deletes the parts.
func (u *upload) clean(ctx context.Context) error {
	if u.cleaned {
		return nil
	}
	refs := make([]object.Ref, len(u.keys))
	for i, key := range u.keys {
		refs[i].Key = key
	}
	if err := u.b.Delete(ctx, refs); err != nil {
		return err
	}
	u.cleaned = true
	return nil
}

// compose makes the object of the parts.
func (u *upload) compose(ctx context.Context) (object.Info, error) {
	parts := slices.SortedFunc(maps.Values(u.parts), func(a, b *part) int { return cmp.Compare(a.off, b.off) })
	whole := part{key: u.key}
	for _, p := range parts {
		if p.off != whole.size {
			return object.Info{}, fmt.Errorf("%w: %s %s: a part begins at byte %d, but the parts before it end at byte %d", fault.ErrUsage, opUpload, u.key, p.off, whole.size)
		}
		whole.crc, whole.size = joinCRC(whole.crc, p.crc, p.size), whole.size+p.size
	}
	parts, err := u.gather(ctx, parts)
	if err != nil {
		return object.Info{}, err
	}
	a := attributesOf(u.o)
	a.Metadata = map[string]string{uploadKey: u.id}
	if u.o.Writer != "" {
		a.Metadata[writerKey] = u.o.Writer
	}
	info, r, err := u.composeOne(ctx, whole.key, parts, a, u.o)
	if errors.Is(err, object.ErrPrecondition) {
		info, r, err = u.found(ctx, err)
	}
	if err == nil {
		err = whole.check(r, opUpload, u.key)
	}
	if err != nil {
		return object.Info{}, err
	}
	return info, nil
}

// found looks for the object after its conditions have failed with refused: an earlier
// request may have made it, and its answer was lost.
func (u *upload) found(ctx context.Context, refused error) (object.Info, resource, error) {
	r, now, err := u.b.resource(ctx, opUpload, u.key)
	if err != nil || r.Metadata[uploadKey] != u.id {
		return object.Info{}, r, refused
	}
	info := r.info(now)
	info.Key = u.key
	return info, r, nil
}

// gather composes parts into greater ones, until one request can compose them.
func (u *upload) gather(ctx context.Context, parts []*part) ([]*part, error) {
	for level := 1; len(parts) > maxCompose; level++ {
		var greater []*part
		group, inner := parallel.WithContext(ctx)
		group.SetLimit(u.b.Limits().Concurrency)
		for chunk := range slices.Chunk(parts, maxCompose) {
			g := &part{key: fmt.Sprintf("%s%sjoined-%d-%d", u.dir, partName, level, len(greater))}
			for _, p := range chunk {
				g.crc, g.size = joinCRC(g.crc, p.crc, p.size), g.size+p.size
			}
			greater = append(greater, g)
			u.keys = append(u.keys, g.key)
			group.Go(func() error {
				_, r, err := u.composeOne(inner, g.key, chunk, attributesOf(object.PutOptions{}), object.PutOptions{})
				if err != nil {
					return err
				}
				g.generation = r.Generation
				return g.check(r, opUpload, g.key)
			})
		}
		if err := group.Wait(); err != nil {
			return nil, err
		}
		parts = greater
	}
	return parts, nil
}

// composeOne makes the object key of at most maxCompose parts.
func (u *upload) composeOne(ctx context.Context, key string, parts []*part, a attributes, o object.PutOptions) (object.Info, resource, error) {
	if len(parts) == 0 { // the service composes no empty object
		r, now, err := u.b.insert(ctx, opUpload, key, nil, 0, a, conditions(url.Values{}, o))
		info := r.info(now)
		info.Key = key
		return info, r, err
	}
	type preconditions struct {
		IfGenerationMatch string `json:"ifGenerationMatch"`
	}
	type source struct {
		Name          string        `json:"name"`
		Preconditions preconditions `json:"objectPreconditions"`
	}
	order := struct {
		Sources     []source   `json:"sourceObjects"`
		Destination attributes `json:"destination"`
	}{Destination: a}
	for _, p := range parts {
		order.Sources = append(order.Sources, source{p.key, preconditions{p.generation}})
	}
	r := request{op: opUpload, key: key, method: http.MethodPost, path: u.b.objectPath(key) + "/compose", header: jsonHeader,
		query: conditions(url.Values{"fields": {resourceFields}}, o)}
	var err error
	if r.body, err = jsonBody(order); err != nil {
		return object.Info{}, resource{}, err
	}
	var made resource
	now, err := u.b.ask(ctx, r, &made)
	info := made.info(now)
	info.Key = key
	return info, made, err
}
