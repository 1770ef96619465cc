package gcs

import (
	"context"

	"github.com/go-orbax/orbax/storage/object"
)

// ListAll is List with the parts of uploads.
func ListAll(ctx context.Context, b object.Bucket, o object.ListOptions) (object.Page, error) {
	return b.(*bucketAPI).list(ctx, o)
}
