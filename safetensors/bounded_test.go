package safetensors_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-orbax/orbax/internal/heap"
)

// Headers of many megabytes take time and memory in proportion, whatever part of
// them is long.
func TestReadHeaderBounded(t *testing.T) {
	const size = 3 << 20
	tensor := `"shape":[1],"data_offsets":[0,1]`
	for name, header := range map[string]string{
		"rank":           fmt.Sprintf(`{"a":{"dtype":"U8","shape":[%s1],"data_offsets":[0,1]}}`, strings.Repeat("1,", size/2)),
		"offsets":        fmt.Sprintf(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[%s1]}}`, strings.Repeat("1,", size/2)),
		"unknown member": fmt.Sprintf(`{"a":{"dtype":"U8",%s,"more":[%s1]}}`, tensor, strings.Repeat("1,", size/2)),
		"dtype":          fmt.Sprintf(`{"a":{"dtype":%q,%s}}`, strings.Repeat("U", size), tensor),
		"name":           fmt.Sprintf(`{%q:{"dtype":"U8",%s}}`, strings.Repeat("n", size), tensor),
		"white space":    strings.Repeat(" ", size) + "{}",
		"deep":           strings.Repeat(`{"a":`, size/5),
		"metadata":       fmt.Sprintf(`{"__metadata__":{"a":%q}}`, strings.Repeat("x", size)),
	} {
		start := time.Now()
		peak := heap.Peak(func() { _, _ = readHeader(file(header, 1)) })
		if d := time.Since(start); d > 10*time.Second {
			t.Errorf("%s: %v", name, d)
		}
		if peak > 24*size {
			t.Errorf("%s: %d MiB for a header of %d", name, peak>>20, size>>20)
		}
	}
}
