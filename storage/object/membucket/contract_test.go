package membucket_test

import (
	"testing"

	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/storage/object/buckettest"
	"github.com/go-orbax/orbax/storage/object/membucket"
)

func TestContract(t *testing.T) {
	uploads := func(_ *testing.T, b object.Bucket) int { return b.(*membucket.Bucket).Uploads() }
	for name, kind := range map[string]func() *membucket.Bucket{
		"limits of S3": membucket.New,
		"small parts":  func() *membucket.Bucket { return &membucket.Bucket{Small: true} },
		"weak":         func() *membucket.Bucket { return &membucket.Bucket{Small: true, Weak: true} },
	} {
		t.Run(name, func(t *testing.T) {
			open := func(*testing.T) object.Bucket { return kind() }
			buckettest.Run(t, open, buckettest.Options{Uploads: uploads})
		})
	}
}
