// Package s3 keeps checkpoints in buckets of Amazon S3, and of services with its API. It
// registers the scheme s3, so that a program that imports it
//
//	import _ "github.com/go-orbax/orbax/storage/cloud/s3"
//
// can give s3://bucket/path to every function that takes a path.
//
// # Credentials and endpoints
//
// The environment is that of Amazon's own programs: the variables AWS_ACCESS_KEY_ID,
// AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, AWS_PROFILE and the files ~/.aws/config and
// ~/.aws/credentials with all kinds of profiles, and the roles of machines, containers and
// functions. AWS_REGION names the region. AWS_ENDPOINT_URL or AWS_ENDPOINT_URL_S3 names
// another service; then the bucket stands in the path of the requests, and the region is
// us-east-1 if none is given. The query of a URL can say otherwise for one bucket:
//
//	s3://bucket/path?anonymous=true    a public bucket, without credentials
//	s3://bucket/path?region=eu-west-1
//	s3://bucket/path?profile=name
//
// All URLs of a bucket with the same query have one client and one store, as long as the
// variables AWS_… stay the same. A program with its own client calls [New].
//
// # What the service must do
//
// The service must check If-None-Match and If-Match of PutObject and
// CompleteMultipartUpload, and the CRC32C of PutObject and UploadPart. Amazon S3 does, and
// versitygw, with which the tests run.
//
// It should check If-Match of DeleteObject too. The first deletions of a program find out
// whether it does, by two more requests. If it does not, each object is looked at before it
// is deleted. Between the look and the deletion another writer may have replaced the object,
// which is lost then. So with such a service, programs that may run at the same time must not
// save to one path, not even when one of them is thought to be dead.
//
// The credentials need s3:ListBucket, s3:GetObject, s3:PutObject, s3:DeleteObject,
// s3:AbortMultipartUpload and s3:ListBucketMultipartUploads; those that only read need the
// first two.
package s3

import (
	"strings"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/go-orbax/orbax/storage/object"
)

// bucket is an [object.Bucket].
type bucket struct {
	client *s3.Client
	name   string
	// amazon says that the service that has answered is Amazon's own.
	amazon atomic.Bool
	// copyPart is the size of the parts of a copy that is too large for one request.
	copyPart int64
	compares atomic.Bool // the service, which may be another one, compares versions in a deletion
}

// New returns the bucket with a name, which client reaches. [object.New] makes the store of
// it. Retries and checksums of the client do not matter: the store tries again itself, and
// the bucket makes checksums.
func New(client *s3.Client, name string) object.Bucket {
	return &bucket{client: client, name: name, copyPart: 512 << 20}
}

// maxParts is the greatest number of a part.
const maxParts = 10_000

// Limits returns the limits of Amazon S3.
func (b *bucket) Limits() object.Limits {
	return object.Limits{MinPart: 5 << 20, MaxPart: 5 << 30, MaxParts: maxParts, Concurrency: 16, ComparesDeletes: true, VersionOfBytes: true}
}

// once makes a call one request, with nothing that the caller of the bucket does itself.
func once(o *s3.Options) {
	o.Retryer = aws.NopRetryer{}
	o.RetryMaxAttempts = 0
	o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	o.DisableLogOutputChecksumValidationSkipped = true
	o.ContinueHeaderThresholdBytes = -1 // a round trip before each part
}

// unsigned makes a call leave its body out of the signature, which would need a SHA-256 of
// it. The CRC32C guards the body.
var unsigned = s3.WithAPIOptions(v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)

// noteService notes who has given an answer. A listing notes it, which comes before every
// removal of several objects.
func (b *bucket) noteService(m middleware.Metadata) {
	r, ok := awsmiddleware.GetRawResponse(m).(*smithyhttp.Response)
	if !ok || r == nil || r.Response == nil || r.Request == nil || r.Request.URL == nil {
		return
	}
	host := strings.ToLower(r.Request.URL.Hostname())
	b.amazon.Store(strings.HasSuffix(host, ".amazonaws.com") || strings.HasSuffix(host, ".amazonaws.com.cn"))
}
