package treesave

import (
	"errors"
	"slices"
	"testing"

	"github.com/go-orbax/orbax/internal/fault"
)

// A dimension without divisors is divided all the same, unless the chunks have to divide
// shards.
func TestChunkShapePrime(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		shape, shard []int
		item, bytes  int
		axes         []int
		want         []int
		refused      bool
	}{
		{shape: []int{20_000_003}, item: 4, bytes: mib, want: []int{259741}},
		{shape: []int{2_000_003}, item: 4, bytes: mib, want: []int{250001}},
		{shape: []int{100_003, 200}, item: 4, bytes: 8 * mib, want: []int{10001, 200}},
		{shape: []int{50257, 768}, item: 4, bytes: 8 * mib, want: []int{1733, 768}},
		{shape: []int{3, 1_000_003}, item: 4, bytes: mib, want: []int{1, 250001}},
		{shape: []int{1_000_003, 4}, item: 4, bytes: mib, axes: []int{1}, want: []int{250001, 1}},
		// These chunks are the choice of Orbax, where it is fair, or where the chunks are
		// few.
		{shape: []int{4096, 4096}, item: 4, bytes: mib, want: []int{512, 512}},
		{shape: []int{1009, 64}, item: 4, bytes: 4096, want: []int{1, 64}},
		// The chunks must divide the shards.
		{shape: []int{2 * 20011, 8}, shard: []int{20011, 8}, item: 4, bytes: 4096, want: []int{1, 8}},
		{shape: []int{4 * 1_000_003}, shard: []int{1_000_003}, item: 4, bytes: mib, refused: true},
		// These chunks were asked for explicitly.
		{shape: []int{20_000_000}, item: 4, bytes: 4, refused: true},
		{shape: []int{1 << 21, 3}, item: 4, axes: []int{0}, refused: true},
	} {
		got, err := chunkShape(c.shape, c.shard, c.item, defaultChunk, ArrayOptions{ChunkByteSize: c.bytes, ShardAxes: c.axes})
		if c.refused {
			if !errors.Is(err, fault.ErrShape) {
				t.Errorf("%v, %d bytes: %v, %v", c.shape, c.bytes, got, err)
			}
			continue
		}
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%v, %d bytes: %v, %v, want %v", c.shape, c.bytes, got, err, c.want)
		}
	}
}
