package s3_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/go-orbax/orbax/storage/cloud/s3"
	"github.com/go-orbax/orbax/storage/object"
)

// ignoring makes a service ignore the versions of deletions: a client that does not send them.
func ignoring(o *awss3.Options) {
	o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
		return stack.Build.Add(middleware.BuildMiddlewareFunc("ignoring", func(ctx context.Context, in middleware.BuildInput, next middleware.BuildHandler) (middleware.BuildOutput, middleware.Metadata, error) {
			if r, ok := in.Request.(*smithyhttp.Request); ok && r.Method == http.MethodDelete {
				r.Header.Del("If-Match")
			}
			return next.HandleBuild(ctx, in)
		}), middleware.After)
	})
}

// A service that ignores the version of a deletion keeps an object of another version all the
// same. One that compares versions is not asked for the version first, once that is known.
func TestVersionsOfDeletions(t *testing.T) {
	for name, c := range map[string]struct {
		options        []func(*awss3.Options)
		heads, deletes int64 // requests for three deletions
	}{
		"compared": {nil, 0, 3},
		"ignored":  {[]func(*awss3.Options){ignoring}, 3, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var heads, deletes atomic.Int64
			client, bucket := newBucket(t, append(c.options, through(func(r *http.Request) (*http.Response, error) {
				switch r.Method {
				case http.MethodHead:
					heads.Add(1)
				case http.MethodDelete:
					deletes.Add(1)
				}
				return http.DefaultClient.Do(r)
			}))...)
			b := s3.New(client, bucket)
			put := func(key, text string) object.Ref {
				t.Helper()
				info, err := b.Put(t.Context(), key, [][]byte{[]byte(text)}, object.PutOptions{})
				if err != nil {
					t.Fatal(err)
				}
				return object.Ref{Key: key, Version: info.Version}
			}
			old := put("replaced", "old")
			put("replaced", "new")
			for range 2 {
				heads.Store(0)
				deletes.Store(0)
				if err := b.Delete(t.Context(), []object.Ref{old, put("same", "x"), {Key: "missing", Version: old.Version}}); err != nil {
					t.Fatal(err)
				}
				page, err := b.List(t.Context(), object.ListOptions{})
				if err != nil || len(page.Objects) != 1 || page.Objects[0].Key != "replaced" {
					t.Fatalf("there are %v, %v", page.Objects, err)
				}
			}
			if heads.Load() != c.heads || deletes.Load() != c.deletes {
				t.Errorf("%d requests to look and %d to delete, want %d and %d", heads.Load(), deletes.Load(), c.heads, c.deletes)
			}
		})
	}
}
