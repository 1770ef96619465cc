// Package object keeps checkpoints in object stores: a [storage.Store] over any [Bucket].
//
//	bucket := membucket.New()
//	store := object.New(bucket, object.Options{})
//	err := orbax.Save(ctx, "run/step_100", state, orbax.In(store))
//
// The packages s3, gcs and azure of the module github.com/go-orbax/orbax/storage/cloud have
// the buckets of the clouds.
package object
