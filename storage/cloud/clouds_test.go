package cloud_test

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/storage/cloud/azure"
	"github.com/go-orbax/orbax/storage/cloud/gcs"
	"github.com/go-orbax/orbax/storage/cloud/internal/servers"
	"github.com/go-orbax/orbax/storage/cloud/s3"
	"github.com/go-orbax/orbax/storage/object"
)

// jobs are what child processes do.
var jobs = map[string]func(arg string){"killed": killedJob, "sharing": sharingJob, "bench": benchChild}

func TestMain(m *testing.M) {
	if job, arg, ok := testenv.Child(); ok {
		jobs[job](arg)
		return
	}
	servers.Main(m)
}

// cloud is a service that the tests of this package run on.
type cloud struct {
	name string
	// start returns the address of a server.
	start func(t testing.TB) string
	// create makes a bucket, and open opens it.
	create func(t testing.TB, addr, bucket string)
	open   func(t testing.TB, addr, bucket string) object.Bucket
	// at opens a bucket of the service at an address, such as https://127.0.0.1:1, through
	// client.
	at func(t testing.TB, address string, client *http.Client) object.Bucket
	// stranger opens a bucket with credentials that the server does not know; nil if it
	// accepts all.
	stranger func(t testing.TB, addr, bucket string) object.Bucket
	// busy is the answer of the service when it wants fewer requests.
	busy http.HandlerFunc
}

var clouds = []cloud{
	{
		name:  "s3",
		start: servers.S3.Shared,
		create: func(t testing.TB, addr, bucket string) {
			_, err := s3Client(addr).CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: &bucket})
			must(t, err)
		},
		open: func(t testing.TB, addr, bucket string) object.Bucket { return s3.New(s3Client(addr), bucket) },
		at: func(t testing.TB, address string, client *http.Client) object.Bucket {
			return s3.New(s3Client("", func(o *awss3.Options) { o.BaseEndpoint, o.HTTPClient = &address, client }), "bucket")
		},
		stranger: func(t testing.TB, addr, bucket string) object.Bucket {
			return s3.New(s3Client(addr, func(o *awss3.Options) {
				o.Credentials = credentials.NewStaticCredentialsProvider("stranger", "secret", "")
			}), bucket)
		},
		busy: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>`)
		},
	},
	{
		name:   "gcs",
		start:  servers.GCS.Shared,
		create: servers.MakeGCSBucket,
		open: func(t testing.TB, addr, bucket string) object.Bucket {
			b, err := gcs.New(nil, bucket, gcs.Options{Endpoint: "http://" + addr})
			must(t, err)
			return b
		},
		at: func(t testing.TB, address string, client *http.Client) object.Bucket {
			b, err := gcs.New(client, "bucket", gcs.Options{Endpoint: address})
			must(t, err)
			return b
		},
		busy: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusTooManyRequests)
			fmt.Fprint(w, `{"error":{"code":429,"message":"rate limit","errors":[{"reason":"rateLimitExceeded"}]}}`)
		},
	},
	{
		name:  "azure",
		start: servers.Azure.Shared,
		create: func(t testing.TB, addr, bucket string) {
			_, err := azureClient(t, addr, bucket).Create(t.Context(), nil)
			must(t, err)
		},
		open: func(t testing.TB, addr, bucket string) object.Bucket { return azure.New(azureClient(t, addr, bucket)) },
		at: func(t testing.TB, address string, client *http.Client) object.Bucket {
			return azure.New(azureClientAt(t, address+"/"+servers.AzureAccount+"/bucket", servers.AzureKey, client))
		},
		stranger: func(t testing.TB, addr, bucket string) object.Bucket {
			return azure.New(azureClientAt(t, "http://"+addr+"/"+servers.AzureAccount+"/"+bucket, "c3RyYW5nZXI=", nil))
		},
		busy: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Ms-Error-Code", "ServerBusy")
			w.WriteHeader(http.StatusServiceUnavailable)
		},
	},
}

func s3Client(addr string, options ...func(*awss3.Options)) *awss3.Client {
	return awss3.New(awss3.Options{
		BaseEndpoint: aws.String("http://" + addr), UsePathStyle: true, Region: "us-east-1",
		Credentials: credentials.NewStaticCredentialsProvider(servers.S3Key, servers.S3Secret, ""),
	}, options...)
}

func azureClient(t testing.TB, addr, bucket string) *container.Client {
	return azureClientAt(t, "http://"+addr+"/"+servers.AzureAccount+"/"+bucket, servers.AzureKey, nil)
}

// azureClientAt returns the client of a container with a key, through transport if that is
// not nil.
func azureClientAt(t testing.TB, address, key string, transport *http.Client) *container.Client {
	secret, err := container.NewSharedKeyCredential(servers.AzureAccount, key)
	must(t, err)
	o := azcore.ClientOptions{Retry: policy.RetryOptions{MaxRetries: -1}}
	if transport != nil {
		o.Transport = transport
	}
	c, err := container.NewClientWithSharedKeyCredential(address, secret, &container.ClientOptions{ClientOptions: o})
	must(t, err)
	return c
}

var buckets atomic.Int64

// newBucket returns the name of a new bucket.
func (c *cloud) newBucket(t testing.TB, addr string) string {
	name := fmt.Sprintf("bucket-%03d", buckets.Add(1))
	c.create(t, addr, name)
	return name
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
