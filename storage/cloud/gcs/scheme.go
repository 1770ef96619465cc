package gcs

import (
	"context"
	"fmt"
	"io/fs"
	"net/url"
	"os"

	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/object"
)

func init() { storage.Register("gs", open) }

// open returns the store of a URL.
func open(ctx context.Context, u *url.URL) (storage.Store, string, error) {
	switch {
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, "", fmt.Errorf("%w: a gs:// path has no query and no fragment; in a name write %%3F for ? and %%23 for #", fs.ErrInvalid)
	case u.User != nil || u.Port() != "":
		return nil, "", fmt.Errorf("%w: a gs:// path has no user and no port: write gs://bucket/path; the credentials come from the environment", fs.ErrInvalid)
	}
	if err := checkBucket(u.Host); err != nil {
		return nil, "", err
	}
	name, err := object.NameIn(u.Path)
	if err != nil {
		return nil, "", err
	}
	client, o, err := fromEnvironment(ctx)
	if err != nil {
		return nil, "", err
	}
	b, err := newBucket(client, u.Host, o)
	if err != nil {
		return nil, "", err
	}
	if client != nil {
		b.source = sourceOf(os.Getenv("GOOGLE_APPLICATION_CREDENTIALS"))
	}
	return object.New(b, object.Options{}), name, nil
}
