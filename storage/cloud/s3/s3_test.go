package s3_test

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/cloud/internal/servers"
	"github.com/go-orbax/orbax/storage/cloud/s3"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/storage/object/buckettest"
	"github.com/go-orbax/orbax/storage/storetest"
)

func TestMain(m *testing.M) { servers.Main(m) }

// client returns a client of the server at an address.
func client(addr string, options ...func(*awss3.Options)) *awss3.Client {
	return awss3.New(awss3.Options{
		BaseEndpoint: aws.String("http://" + addr), UsePathStyle: true, Region: "us-east-1",
		Credentials: credentials.NewStaticCredentialsProvider(servers.S3Key, servers.S3Secret, ""),
	}, options...)
}

var buckets atomic.Int64

// newBucket makes a bucket in the server, and returns its name and a client.
func newBucket(t *testing.T, options ...func(*awss3.Options)) (*awss3.Client, string) {
	t.Helper()
	c := client(servers.S3.Shared(t), options...)
	name := fmt.Sprintf("bucket%d", buckets.Add(1))
	if _, err := c.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: &name}); err != nil {
		t.Fatal(err)
	}
	return c, name
}

// The driver keeps the contract of a bucket.
func TestContract(t *testing.T) {
	uploads := map[object.Bucket]func(t *testing.T) int{}
	open := func(t *testing.T) object.Bucket {
		c, name := newBucket(t)
		b := s3.New(c, name)
		uploads[b] = func(t *testing.T) int {
			out, err := c.ListMultipartUploads(t.Context(), &awss3.ListMultipartUploadsInput{Bucket: &name})
			if err != nil {
				t.Fatal(err)
			}
			return len(out.Uploads)
		}
		return b
	}
	buckettest.Run(t, open, buckettest.Options{Uploads: func(t *testing.T, b object.Bucket) int { return uploads[b](t) }})
}

// The store over a bucket keeps the contract of stores.
func TestStore(t *testing.T) {
	c, name := newBucket(t)
	store := object.New(s3.New(c, name), object.Options{Lease: 3 * time.Second, Delay: time.Millisecond})
	storetest.Run(t, func(t *testing.T) (storage.Store, string) { return store, t.Name() }, storetest.VersionOfBytes)
}

// static are credentials for services that do not check them.
var static = credentials.NewStaticCredentialsProvider("id", "secret", "")

// syncDoer makes one request at a time.
type syncDoer struct {
	mu sync.Mutex
	do func(*http.Request) (*http.Response, error)
}

func (d *syncDoer) Do(r *http.Request) (*http.Response, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.do(r)
}
