package s3

import (
	"net/url"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/go-orbax/orbax/storage/object"
)

// NewWithCopyPart is [New] with another size of the parts of large copies.
func NewWithCopyPart(client *s3.Client, name string, size int64) object.Bucket {
	return &bucket{client: client, name: name, copyPart: size}
}

// Parse returns the bucket and the name of a URL.
func Parse(u *url.URL) (bucket, name string, err error) {
	bucket, name, _, err = parse(u)
	return bucket, name, err
}
