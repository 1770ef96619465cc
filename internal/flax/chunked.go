package flax

import (
	"fmt"
	"math"
	"strconv"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/region"
	"github.com/go-orbax/orbax/tree"
)

// chunkedKey marks a dict that represents one array, which is stored in pieces because it
// is larger than 1 GiB:
//
//	{"__msgpack_chunked_array__": True,
//	 "shape": {"0": 300, "1": 400}, "chunks": {"0": array, "1": array}}
//
// The chunks are arrays of rank 1, which together have the elements of the array.
const chunkedKey = "__msgpack_chunked_array__"

// joinChunks returns the array that a dict with chunkedKey represents, without its path.
// leaves are the leaves of the dict, and the path of the dict has depth keys.
func joinChunks(leaves []Leaf, depth int) Leaf {
	a, err := chunkedArray(leaves, depth)
	return Leaf{Kind: tree.KindArray, Array: a, Err: err}
}

func chunkedArray(leaves []Leaf, depth int) (*Array, error) {
	dims, chunks := map[string]*Leaf{}, map[string]*Leaf{}
	for i := range leaves {
		l := &leaves[i]
		if l.Err != nil {
			return nil, l.Err
		}
		switch at := l.Path[depth:]; {
		case len(at) == 1 && at[0].Name == chunkedKey, len(at) == 1 && l.Kind == tree.KindEmpty:
		case len(at) == 2 && at[0].Name == "shape":
			dims[at[1].Name] = l
		case len(at) == 2 && at[0].Name == "chunks":
			chunks[at[1].Name] = l
		default:
			return nil, notChunked("it has a value at %v", at)
		}
	}
	a := &Array{Shape: make([]int, len(dims))}
	for i := range a.Shape {
		n, ok := int64(-1), false
		if l := dims[strconv.Itoa(i)]; l != nil {
			n, ok = l.Value.(int64)
		}
		if !ok || n < 0 || n > math.MaxInt {
			return nil, notChunked("dimension %d is no size", i)
		}
		a.Shape[i] = int(n)
	}
	var have int64
	for i := range len(chunks) {
		l := chunks[strconv.Itoa(i)]
		if l == nil || l.Array == nil || l.Kind != tree.KindArray || len(l.Array.Shape) != 1 {
			return nil, notChunked("chunk %d is no array of rank 1", i)
		}
		if i == 0 {
			a.DType = l.Array.DType
		}
		if l.Array.DType != a.DType {
			return nil, notChunked("it has chunks of %v and of %v", a.DType, l.Array.DType)
		}
		for _, r := range l.Array.Runs {
			a.Runs = append(a.Runs, r)
			have += r.Length
		}
	}
	if len(chunks) == 0 {
		return nil, notChunked("it has no chunks")
	}
	if n, err := region.NumBytes(a.Shape, a.DType.Size()); err != nil || int64(n) != have || len(dims) > maxRank {
		return nil, notChunked("its chunks have %d bytes, which is not that of %v and shape %v", have, a.DType, a.Shape)
	}
	return a, nil
}

// notChunked returns the error about a dict that has chunkedKey and is not a valid array.
func notChunked(format string, args ...any) error {
	return fmt.Errorf("%w: an array in chunks: %s", fault.ErrCorrupt, fmt.Sprintf(format, args...))
}
