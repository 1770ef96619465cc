// Package castlog lets a program observe the conversions of elements from one dtype to
// another while a tree is copied or saved.
package castlog

import (
	"context"

	"github.com/go-orbax/orbax/array"
)

// Log is called with elements of a leaf before and after their conversion, each element
// once. It must not keep or change them. Several goroutines may call it.
type Log func(leaf string, dst []byte, dstType array.DType, src []byte, srcType array.DType)

type key struct{}

// With returns a context with log. Saves with a dtype, and copies of cast trees, call log
// if they get this context.
func With(ctx context.Context, log Log) context.Context { return context.WithValue(ctx, key{}, log) }

// From returns the log of a context, or nil.
func From(ctx context.Context) Log {
	log, _ := ctx.Value(key{}).(Log)
	return log
}
