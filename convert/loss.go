package convert

import (
	"context"
	"encoding/binary"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/castlog"
	"github.com/go-orbax/orbax/internal/inspect"
)

// Loss counts the elements of a leaf that were out of range in a conversion of the dtype.
type Loss struct {
	Leaf string // path of the leaf
	// These count the elements that became the nearest value in range, infinity, NaN, or
	// 0.
	Clipped, Infinite, NaN, Zero int
}

// Add adds the counts of another loss to l.
func (l *Loss) Add(m Loss) {
	l.Clipped += m.Clipped
	l.Infinite += m.Infinite
	l.NaN += m.NaN
	l.Zero += m.Zero
}

// String describes the results of the conversion: "2 elements were clipped, 1 became 0".
func (l Loss) String() string {
	var said []string
	say := func(n int, one, many string) {
		if n == 0 {
			return
		}
		words := many
		if n == 1 {
			words = one
		}
		said = append(said, inspect.Plural(n, "element")+" "+words)
	}
	say(l.Clipped, "was clipped", "were clipped")
	say(l.Infinite, "became infinite", "became infinite")
	say(l.NaN, "became NaN", "became NaN")
	say(l.Zero, "became 0", "became 0")
	return strings.Join(said, ", ")
}

// losses collects the losses of all leaves.
type losses struct {
	mu     sync.Mutex
	leaves map[string]*Loss
}

// watch returns a context in which l counts the losses of conversions to Storage.DType.
func (l *losses) watch(ctx context.Context) context.Context {
	l.leaves = map[string]*Loss{}
	return castlog.With(ctx, func(leaf string, dst []byte, to array.DType, src []byte, from array.DType) {
		n := countLost(dst, to, src, from)
		if n == (Loss{}) {
			return
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.leaves[leaf] == nil {
			l.leaves[leaf] = &Loss{}
		}
		l.leaves[leaf].Add(n)
	})
}

// list returns the losses in the order of the leaves' paths.
func (l *losses) list() []Loss {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []Loss
	for _, name := range slices.Sorted(maps.Keys(l.leaves)) {
		loss := *l.leaves[name]
		loss.Leaf = name
		all = append(all, loss)
	}
	return all
}

// lostBlock is the number of elements that countLost widens at a time.
const lostBlock = 1024

// countLost compares elements before and after a conversion within their class.
func countLost(dst []byte, to array.DType, src []byte, from array.DType) (n Loss) {
	if from.IsInteger() {
		return Loss{Clipped: countClipped(dst, to, src, from)}
	}
	wide, parts := array.Float64, 1
	if from.IsComplex() {
		wide, parts = array.Complex128, 2
	}
	limit := largest(to)
	var a, b [lostBlock * 16]byte
	for len(src) > 0 {
		k := min(lostBlock, len(src)/from.Size())
		x, y := a[:k*wide.Size()], b[:k*wide.Size()]
		if array.Convert(x, wide, src[:k*from.Size()], from) != nil || array.Convert(y, wide, dst[:k*to.Size()], to) != nil {
			return n // such a conversion has been refused before
		}
		for i := 0; i < len(x); i += 8 * parts {
			for p := range parts { // the first lost part counts
				if e := lostFloat(floatAt(x[i+8*p:]), floatAt(y[i+8*p:]), limit); e != (Loss{}) {
					n.Add(e)
					break
				}
			}
		}
		src, dst = src[k*from.Size():], dst[k*to.Size():]
	}
	return n
}

func floatAt(b []byte) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(b)) }

// lostFloat returns the loss of a when it was converted to b. limit is the largest value
// of b's dtype.
func lostFloat(a, b, limit float64) Loss {
	switch {
	case a == b || math.IsNaN(a):
		return Loss{}
	case math.IsNaN(b):
		return Loss{NaN: 1}
	case math.IsInf(b, 0):
		return Loss{Infinite: 1}
	case b == 0:
		return Loss{Zero: 1}
	case math.Abs(a) > limit:
		return Loss{Clipped: 1}
	}
	return Loss{}
}

// largest returns the largest value of a float type without infinities and NaN, which
// clips. It returns infinity for other types.
func largest(d array.DType) float64 {
	inf, min, wide := array.Of([]float64{math.Inf(1)}).Bytes(), make([]byte, d.Size()), make([]byte, 8)
	if d.IsComplex() || array.Convert(min, d, inf, array.Float64) != nil || array.Convert(wide, array.Float64, min, d) != nil || math.IsNaN(floatAt(wide)) {
		return math.Inf(1)
	}
	return floatAt(wide)
}

// countClipped returns the number of integers that a conversion does not preserve.
func countClipped(dst []byte, to array.DType, src []byte, from array.DType) (n int) {
	var back [lostBlock * 8]byte
	item := from.Size()
	for len(src) > 0 {
		k := min(lostBlock, len(src)/item)
		b := back[:k*item]
		if array.Convert(b, from, dst[:k*to.Size()], to) != nil {
			return n // such a conversion has been refused before
		}
		if string(b) != string(src[:k*item]) {
			for i := 0; i < len(b); i += item {
				if string(b[i:i+item]) != string(src[i:i+item]) {
					n++
				}
			}
		}
		src, dst = src[k*item:], dst[k*to.Size():]
	}
	return n
}
