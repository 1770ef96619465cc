package interop

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strconv"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax/array"
)

// treeGen draws trees.
type treeGen struct {
	t *rapid.T
	// files keeps to names that can be files; goSide allows what Go can save
	// and Python cannot.
	files, goSide bool
	// job is the number of processes of a job that saves the tree; 0 if there is none.
	job    int
	names  int
	leaves int
}

// tree draws a tree, which has at least one leaf or empty node.
func (g *treeGen) tree() *node {
	switch g.pick("root", 12) {
	case 0:
		n := g.leaf()
		for n.T == "none" || len(n.Kids) == 0 && (n.T == "dict" || n.T == "list" || n.T == "tuple") {
			n = g.leaf() // neither side saves an empty root
		}
		return n
	case 1:
		return g.sequence(3)
	case 2:
		return g.intDict(3)
	}
	return g.dict(3)
}

func (g *treeGen) pick(label string, n int) int { return rapid.IntRange(0, n-1).Draw(g.t, label) }

func (g *treeGen) node(depth int) *node {
	if depth > 0 {
		switch g.pick("node", 8) {
		case 0, 1:
			return g.dict(depth)
		case 2:
			return g.sequence(depth)
		case 3:
			return g.intDict(depth)
		}
	}
	return g.leaf()
}

func (g *treeGen) dict(depth int) *node {
	n := dict()
	for range 1 + g.pick("members", 4) {
		n.Keys, n.Kids = append(n.Keys, g.name()), append(n.Kids, g.node(depth-1))
	}
	return n
}

func (g *treeGen) sequence(depth int) *node {
	n := seq(rapid.SampledFrom([]string{"list", "tuple"}).Draw(g.t, "sequence"))
	for range 1 + g.pick("elements", 3) {
		n.Kids = append(n.Kids, g.node(depth-1))
	}
	return n
}

func (g *treeGen) intDict(depth int) *node {
	n := &node{T: "intdict"}
	for _, k := range rapid.SliceOfNDistinct(rapid.OneOf(rapid.Int64Range(-3, 12), rapid.Int64()), 1, 3, rapid.ID).Draw(g.t, "int keys") {
		n.Keys, n.Kids = append(n.Keys, strconv.FormatInt(k, 10)), append(n.Kids, g.node(depth-1))
	}
	return n
}

var (
	fileNames = []string{"w", "kernel", "bias", "params", "a.b", "Größe", "層", "🙂", "it's", `say "x"`, "a b", "$x", "*", "%41", "#", "-", "e\u0301"}
	anyNames  = append([]string{"a/b", "/", "//", "..", ".", `\`, `\n`, "\n", "\t", "\x01", "\x7f", "\u00a0", "\u2028", "\ufeff", "'\"", "{}", "?q", "\U0010fffd"}, fileNames...)
)

// name draws a key. A number makes it the only one of the tree, which keeps
// names from meeting that are one to Orbax, such as a.b and a, b.
func (g *treeGen) name() string {
	g.names++
	names := anyNames
	if g.files {
		names = fileNames
	}
	base := rapid.SampledFrom(names).Draw(g.t, "name")
	if g.pick("number first", 2) == 0 {
		return fmt.Sprintf("%d_%s", g.names, base)
	}
	return fmt.Sprintf("%s_%d", base, g.names)
}

func (g *treeGen) leaf() *node {
	g.leaves++
	switch g.pick("leaf", 14) {
	case 0:
		return none()
	case 1:
		return seq(rapid.SampledFrom([]string{"list", "tuple", "dict"}).Draw(g.t, "empty"))
	case 2:
		return boolean(rapid.Bool().Draw(g.t, "bool"))
	case 3, 4:
		return g.integer()
	case 5:
		return g.float()
	case 6:
		return g.text()
	case 7:
		return g.key()
	case 8:
		if g.goSide {
			return g.goOnly()
		}
	case 9, 10:
		if n := g.sharded(); n != nil {
			return n
		}
	}
	return g.array(g.shape())
}

var goInts = []reflect.Type{
	nil, reflect.TypeFor[int8](), reflect.TypeFor[int16](), reflect.TypeFor[int32](), reflect.TypeFor[int64](),
	reflect.TypeFor[uint8](), reflect.TypeFor[uint16](), reflect.TypeFor[uint32](),
}

func (g *treeGen) integer() *node {
	if g.pick("large", 4) == 0 {
		return &node{T: "int", Text: strconv.FormatUint(rapid.Uint64Min(1<<63).Draw(g.t, "uint64"), 10)}
	}
	n := integer(rapid.Int64().Draw(g.t, "int64"))
	if g.goSide {
		n.Go = rapid.SampledFrom(goInts).Draw(g.t, "Go type")
	}
	if n.Go != nil { // wrap it around to what the type holds
		v, _ := strconv.ParseInt(n.Text, 10, 64)
		n.Text = fmt.Sprint(reflect.ValueOf(v).Convert(n.Go).Interface())
	}
	return n
}

// floatBits are special values, among them NaNs with a payload.
var floatBits = []uint64{
	0, 1 << 63, 1, 0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000000, 0xfff8000000000001,
	0x7ff8dead0000beef, 0x7ff0000000000001, 0x000fffffffffffff, 0x7fefffffffffffff,
}

func (g *treeGen) float() *node {
	n := &node{T: "float"}
	switch g.pick("float", 3) {
	case 0:
		n.Float[0] = rapid.SampledFrom(floatBits).Draw(g.t, "bits")
	case 1:
		n.Float[0] = rapid.Uint64().Draw(g.t, "bits")
	case 2:
		v := rapid.Float32().Draw(g.t, "float32")
		n.Float[0] = math.Float64bits(float64(v))
		if g.goSide {
			n.Go = reflect.TypeFor[float32]()
		}
	}
	return n
}

func (g *treeGen) text() *node {
	if g.pick("special", 3) == 0 {
		return text(rapid.SampledFrom([]string{"", `"`, "'", `\`, "a\nb", "~", "/", "\x00", "🙂", "None", "{\"a\": 1}", "\u2028", "<&>"}).Draw(g.t, "text"))
	}
	return text(rapid.StringN(0, 20, -1).Draw(g.t, "text"))
}

// goOnly draws leaves that only Go can save.
func (g *treeGen) goOnly() *node {
	switch g.pick("Go leaf", 3) {
	case 0:
		return byteString(g.bytes(array.Uint8, g.pick("length", 40)))
	case 1:
		n := &node{T: "complex"}
		n.Float[0] = rapid.SampledFrom(floatBits).Draw(g.t, "real")
		n.Float[1] = rapid.Uint64().Draw(g.t, "imaginary")
		return n
	}
	// An array without elements.
	shape := g.shape()
	shape = append(shape, 0)
	at := g.pick("zero at", len(shape))
	shape[at], shape[len(shape)-1] = shape[len(shape)-1], shape[at]
	return g.array(shape)
}

func (g *treeGen) key() *node {
	impl := rapid.SampledFrom([]string{"threefry2x32", "rbg", "unsafe_rbg"}).Draw(g.t, "impl")
	n := &node{T: "key", Impl: impl}
	if g.job > 0 { // JAX saves no array of one process then
		n.Sharding = g.mesh()
		n.Shape, n.Sharding.Spec = g.split(n.Sharding, g.pick("rank", 3))
	} else {
		n.Shape = rapid.SliceOfN(rapid.IntRange(1, 3), 0, 2).Draw(g.t, "key shape")
	}
	n.Data = g.bytes(array.Uint32, product(n.Shape)*keyWords(impl))
	return n
}

// shape draws a shape without zeros, of rank 0 to 10.
func (g *treeGen) shape() []int {
	rank := rapid.SampledFrom([]int{0, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8, 9, 10}).Draw(g.t, "rank")
	limit := max(2, []int{1, 700, 40, 9, 5, 4, 3, 3, 2, 2, 2}[rank])
	return rapid.SliceOfN(rapid.IntRange(1, limit), rank, rank).Draw(g.t, "shape")
}

var dtypes = func() []array.DType {
	var all []array.DType
	for d := array.Bool; d <= array.Complex128; d++ {
		all = append(all, d)
	}
	return all
}()

var goSlices = map[array.DType]reflect.Type{
	array.Bool: reflect.TypeFor[[]bool](), array.Int8: reflect.TypeFor[[]int8](), array.Int16: reflect.TypeFor[[]int16](),
	array.Int32: reflect.TypeFor[[]int32](), array.Int64: reflect.TypeFor[[]int64](), array.Uint16: reflect.TypeFor[[]uint16](),
	array.Uint32: reflect.TypeFor[[]uint32](), array.Uint64: reflect.TypeFor[[]uint64](), array.Float32: reflect.TypeFor[[]float32](),
	array.Float64: reflect.TypeFor[[]float64](), array.Complex64: reflect.TypeFor[[]complex64](), array.Complex128: reflect.TypeFor[[]complex128](),
	array.BFloat16: reflect.TypeFor[[]array.BF16](), array.Float16: reflect.TypeFor[[]array.F16](),
}

// array draws an array of a shape, of NumPy or, unless it has no elements, on
// JAX's first device, or on all devices of a mesh of a job.
func (g *treeGen) array(shape []int) *node {
	d := rapid.SampledFrom(dtypes).Draw(g.t, "dtype")
	elems, _ := array.NumElements(shape)
	n := &node{T: "array", Lib: "np", DType: d.String(), Shape: shape, Data: g.bytes(d, elems)}
	if elems > 0 && rapid.Bool().Draw(g.t, "jax") {
		n.Lib = "jax"
		if g.job > 0 { // a replica on each device
			n.Sharding = g.mesh()
			n.Sharding.Spec = []any{}
		}
	} else if g.goSide && len(shape) == 1 && rapid.Bool().Draw(g.t, "slice") {
		n.Go = goSlices[d]
	}
	return n
}

// bytes draws the memory of n elements: random bits, and now and then the
// special values of a float64 or what is left of them.
func (g *treeGen) bytes(d array.DType, n int) []byte {
	r := rand.New(rand.NewPCG(rapid.Uint64().Draw(g.t, "data"), 0))
	b := make([]byte, n*d.Size())
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	var special [8]byte
	for at := 0; at < len(b); at += d.Size() {
		if r.IntN(4) == 0 {
			binary.BigEndian.PutUint64(special[:], floatBits[r.IntN(len(floatBits))])
			for i := range min(8, d.Size()) {
				b[at+d.Size()-1-i] = special[i]
			}
		}
		switch d {
		case array.Bool:
			b[at] &= 1
		case array.Int2:
			b[at] = byte(int8(b[at]<<6) >> 6)
		case array.Int4:
			b[at] = byte(int8(b[at]<<4) >> 4)
		case array.Float4E2M1FN:
			b[at] &= 15
		}
	}
	return b
}

// sharded draws an array that lies over a mesh of devices.
func (g *treeGen) sharded() *node {
	m := g.mesh()
	shape, spec := g.split(m, 1+g.pick("rank", 3))
	m.Spec = spec
	n := g.array(shape)
	n.Lib, n.Sharding, n.Go = "jax", m, nil
	return n
}

var axisNames = []string{"x", "data axis", "模型"}

// mesh draws a mesh of devices, without a spec.
func (g *treeGen) mesh() *mesh {
	if g.job > 0 {
		return g.jobMesh(g.job)
	}
	shape := rapid.SampledFrom([][]int{{8}, {2, 4}, {4, 2}, {2, 2, 2}, {4}, {2}, {1}, {1, 8}}).Draw(g.t, "mesh")
	return &mesh{Mesh: shape, Axes: axisNames[:len(shape)]}
}

// jobMesh draws a mesh of devices of n processes, at least one of each: JAX does not
// save arrays that some process has no part of. Go does.
func (g *treeGen) jobMesh(n int) *mesh {
	var ids, more []int
	for rank := range n {
		first := g.pick("device", localDevices)
		for i := range localDevices {
			if id := deviceIDs*rank + i; i == first {
				ids = append(ids, id)
			} else {
				more = append(more, id)
			}
		}
	}
	more = rapid.Permutation(more).Draw(g.t, "more devices")
	if g.pick("all devices", 3) == 0 {
		more = more[:g.pick("number of more devices", len(more)+1)]
	}
	m := &mesh{Devices: rapid.Permutation(append(ids, more...)).Draw(g.t, "devices")}
	if g.goSide && g.pick("some processes", 4) == 0 {
		m.Devices = m.Devices[:1+g.pick("number of devices", len(m.Devices))]
	}
	left := len(m.Devices)
	axes := 1 + g.pick("axes", len(axisNames))
	for range axes - 1 {
		var divisors []int
		for d := 1; d <= left; d++ {
			if left%d == 0 {
				divisors = append(divisors, d)
			}
		}
		size := rapid.SampledFrom(divisors).Draw(g.t, "axis")
		m.Mesh = append(m.Mesh, size)
		left /= size
	}
	m.Mesh, m.Axes = append(m.Mesh, left), axisNames[:axes]
	return m
}

// split draws which axes of an array of some rank each axis of a mesh splits, and a
// shape. The shape divides so, unless Go alone saves the array.
func (g *treeGen) split(m *mesh, rank int) (shape []int, spec []any) {
	shape = make([]int, rank)
	axes := g.spec(m, rank, func(int, int) bool { return true })
	uneven := g.job > 0 && g.goSide && rapid.Bool().Draw(g.t, "uneven")
	for i := range shape {
		if uneven {
			shape[i] = rapid.SampledFrom([]int{1, 2, 3, 5, 7, 9, 13, 16, 0}).Draw(g.t, "length")
			continue
		}
		shape[i] = 1 + g.pick("shard", 4)
		for _, axis := range axes[i] {
			shape[i] *= m.size(axis)
		}
	}
	return shape, specOf(axes)
}

// spec draws which axes of an array of some rank each axis of a mesh splits. may reports
// whether an axis may have so many parts.
func (g *treeGen) spec(m *mesh, rank int, may func(axis, parts int) bool) [][]string {
	spec, parts := make([][]string, rank), make([]int, rank)
	for _, axis := range rapid.Permutation(m.Axes).Draw(g.t, "order of axes") {
		at := g.pick("axis splits", rank+1) // none, if rank
		if at < rank {
			n := max(1, parts[at]) * m.size(axis)
			if may(at, n) {
				spec[at], parts[at] = append(spec[at], axis), n
			}
		}
	}
	return spec
}
