package handler_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/go-orbax/orbax/array"
	. "github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/zarr"
)

// TestOptionsReportedOnce checks that wrong options for many arrays are reported once.
func TestOptionsReportedOnce(t *testing.T) {
	state := map[string]any{
		"a": []float32{1, 2}, "b": array.Of([]float64{1, 2, 3, 4}, 2, 2), "c": []int16{1}, "d": []int8{1}, "text": "x", "n": 7,
	}
	for _, c := range []struct {
		options StorageOptions
		want    []string
	}{
		{StorageOptions{ArrayOptions: ArrayOptions{Compression: zarr.Zstd(99)}}, []string{"leaf a: invalid request: zstd level 99 is outside -131072 to 22 (and 3 other leaves)"}},
		{StorageOptions{ArrayOptions: ArrayOptions{ChunkByteSize: 1}}, []string{"leaf a: shape mismatch: chunks of 1 bytes with elements of 4 (and 2 other leaves)"}},
		{StorageOptions{ArrayOptions: ArrayOptions{ChunkByteSize: -1}}, []string{"leaf a: shape mismatch: negative chunk size -1 (and 3 other leaves)"}},
		{StorageOptions{ArrayOptions: ArrayOptions{ChunkByteSize: 4}}, []string{"leaf b: shape mismatch: chunks of 4 bytes with elements of 8"}},
		{StorageOptions{ArrayOptions: ArrayOptions{ChunkByteSize: 4, ShardAxes: []int{1}}}, []string{
			"leaf a: shape mismatch: shard axis 1 for shape [2] (and 2 other leaves)", "leaf b: shape mismatch: chunks of 4 bytes with elements of 8"}},
		{StorageOptions{PerLeaf: func(leaf string, _ array.ShapeDtypeStruct, o ArrayOptions) ArrayOptions {
			switch leaf {
			case "a", "c":
				o.Compression = zarr.Zstd(23)
			case "b":
				o.Compression = zarr.Zstd(24)
			}
			return o
		}}, []string{"leaf a: invalid request: zstd level 23 is outside -131072 to 22 (and 1 other leaf)", "leaf b: invalid request: zstd level 24 is outside -131072 to 22"}},
	} {
		_, err := PyTreeHandler{}.Save(t.Context(), state, SaveOptions{Storage: c.options})
		if got := fmt.Sprint(err); got != strings.Join(c.want, "\n") {
			t.Errorf("got\n%s\nwant\n%s", got, strings.Join(c.want, "\n"))
		}
		var leaf *fault.Leaf
		if !errors.As(err, &leaf) || !errors.Is(err, fault.ErrShape) && !errors.Is(err, fault.ErrUsage) {
			t.Errorf("%v has no leaf or class", err)
		}
	}
}
