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

// Loss counts the elements of a leaf that are outside of the range of the dtype that they were
// converted to.
type Loss struct {
	Leaf string // its path
	// What became of the elements: the nearest value in range, infinity, NaN, or 0.
	Clipped, Infinite, NaN, Zero int
}

// Add adds the counts of another loss.
func (l *Loss) Add(m Loss) {
	l.Clipped += m.Clipped
	l.Infinite += m.Infinite
	l.NaN += m.NaN
	l.Zero += m.Zero
}

// String says what became of the elements: "2 elements were clipped, 1 became 0".
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

// losses are those of all leaves.
type losses struct {
	mu     sync.Mutex
	leaves map[string]*Loss
}

// watch returns a context in which the conversions to Storage.DType are looked at.
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

// lostBlock is how many elements countLost widens at a time.
const lostBlock = 1024

// countLost compares elements with what they were converted to, which is of the same
// class.
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
			return n // such a conversion was refused before
		}
		for i := 0; i < len(x); i += 8 * parts {
			for p := range parts { // the first part that is lost counts
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

// lostFloat reports what a lost when it was converted to b, whose dtype has the largest
// value limit.
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

// largest returns the largest value of a float type that has neither infinities nor NaN,
// and so clips; infinity for others.
func largest(d array.DType) float64 {
	inf, min, wide := array.Of([]float64{math.Inf(1)}).Bytes(), make([]byte, d.Size()), make([]byte, 8)
	if d.IsComplex() || array.Convert(min, d, inf, array.Float64) != nil || array.Convert(wide, array.Float64, min, d) != nil || math.IsNaN(floatAt(wide)) {
		return math.Inf(1)
	}
	return floatAt(wide)
}

// countClipped returns how many integers do not come back from a conversion.
func countClipped(dst []byte, to array.DType, src []byte, from array.DType) (n int) {
	var back [lostBlock * 8]byte
	item := from.Size()
	for len(src) > 0 {
		k := min(lostBlock, len(src)/item)
		b := back[:k*item]
		if array.Convert(b, from, dst[:k*to.Size()], to) != nil {
			return n // such a conversion was refused before
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
