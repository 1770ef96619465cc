package gcs

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"

	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/cloud/internal/opened"
	"github.com/go-orbax/orbax/storage/object"
)

func init() { storage.Register("gs", open) }

// stores are the stores of the URLs that have been opened.
var stores opened.Stores[way]

// way is a bucket and the way to it. There is one client for all buckets with the same
// credentials.
type way struct {
	client  *http.Client
	options Options
	bucket  string
}

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
	store, err := stores.Get(way{client, o, u.Host}, func() (object.Bucket, error) {
		b, err := newBucket(client, u.Host, o)
		if err == nil && client != nil {
			b.source = sourceOf(os.Getenv("GOOGLE_APPLICATION_CREDENTIALS"))
		}
		return b, err
	})
	if err != nil {
		return nil, "", err
	}
	return store, name, nil
}
