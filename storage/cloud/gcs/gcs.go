// Package gcs keeps checkpoints in Google Cloud Storage. It registers the scheme gs:
//
//	import _ "github.com/go-orbax/orbax/storage/cloud/gcs"
//
//	err := orbax.Save(ctx, "gs://bucket/run/step_100", state)
//
// In a URL, % and two hexadecimal digits stand for a byte.
//
// # Credentials
//
// Paths use the Application Default Credentials: the file that
// GOOGLE_APPLICATION_CREDENTIALS names, or that of
//
//	gcloud auth application-default login
//
// or the service account of the machine. Without any of them, and with
// CLOUDSDK_AUTH_DISABLE_CREDENTIALS=true, requests have no credentials: public buckets can
// be read. If STORAGE_EMULATOR_HOST is set to the address of an emulator, with or without
// http://, requests go there, without credentials. A program with credentials or an HTTP
// client of its own calls [New].
//
// To load, a caller needs the role roles/storage.objectViewer on the bucket, and to save,
// roles/storage.objectUser.
//
// # Objects
//
// The version of an object is its generation. A large object is uploaded as part objects
// in a directory beside it, several at once, and composed of them. The parts are then
// deleted. A bucket that keeps deleted objects for a time (soft delete, versioning), and a
// storage class with a minimum duration, charge for them as for any deleted object.
//
// The service checks a CRC32C of everything that is written. This package checks that of
// composed objects, and of objects that are read as a whole.
package gcs

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage/object"
)

// Options choose where a bucket is. The zero value is Google Cloud Storage.
type Options struct {
	// Endpoint is the address of the service, such as "http://127.0.0.1:4443" for an
	// emulator.
	Endpoint string
}

// googleEndpoint is the address of Google Cloud Storage.
const googleEndpoint = "https://storage.googleapis.com"

// New returns a bucket for [object.New]. client sends the requests and adds the
// credentials, as the one of [golang.org/x/oauth2/google.DefaultClient] does with [Scope].
// With a nil client requests have no credentials. New reads no environment.
//
// New sends no request: a bucket that does not exist is an error of the first use.
func New(client *http.Client, bucket string, o Options) (object.Bucket, error) {
	b, err := newBucket(client, bucket, o)
	if err != nil {
		return nil, err
	}
	return b, nil
}

func newBucket(client *http.Client, bucket string, o Options) (*bucketAPI, error) {
	if err := checkBucket(bucket); err != nil {
		return nil, err
	}
	b := &bucketAPI{client: client, bucket: bucket, anonymous: client == nil}
	if client == nil {
		b.client = plainClient()
	}
	endpoint := o.Endpoint
	if endpoint == "" {
		endpoint = googleEndpoint
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
		return nil, fmt.Errorf("%w: the endpoint of Google Cloud Storage is an address such as http://127.0.0.1:4443, without user, path and query", fault.ErrUsage)
	}
	b.endpoint = u.Scheme + "://" + u.Host
	return b, nil
}

var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$`)

func checkBucket(bucket string) error {
	if !bucketName.MatchString(bucket) {
		return fmt.Errorf("%w: %q is no name of a bucket: write gs://bucket/path, with lower-case letters, digits, hyphens, underscores and dots in the bucket", fault.ErrUsage, bucket)
	}
	return nil
}

// bucketAPI is a bucket over the JSON and XML interfaces of Google Cloud Storage.
type bucketAPI struct {
	client    *http.Client
	endpoint  string // without a slash at the end
	bucket    string
	anonymous bool   // the requests have no credentials
	source    string // of the credentials, for messages; "" if it is not known
}

// maxCompose is how many objects one request composes.
const maxCompose = 32

func (b *bucketAPI) Limits() object.Limits {
	return object.Limits{
		MinPart:         1, // an object of many parts is composed in stages, for which any size is fine
		MaxPart:         5 << 40,
		MaxParts:        maxCompose * maxCompose * maxCompose,
		Concurrency:     16,
		ComparesDeletes: true,
	}
}
