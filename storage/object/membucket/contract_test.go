package membucket_test

import (
	"testing"

	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/storage/object/buckettest"
	"github.com/go-orbax/orbax/storage/object/membucket"
)

func TestContract(t *testing.T) {
	uploads := func(_ *testing.T, b object.Bucket) int { return b.(*membucket.Bucket).Uploads() }
	for name, small := range map[string]bool{"limits of S3": false, "small parts": true} {
		t.Run(name, func(t *testing.T) {
			open := func(*testing.T) object.Bucket {
				b := membucket.New()
				b.Small = small
				return b
			}
			buckettest.Run(t, open, buckettest.Options{Uploads: uploads})
		})
	}
}
