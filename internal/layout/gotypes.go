package layout

// These are marks for Go types that have no value type in Orbax; see [TreeLeaf].
const (
	GoBytes      = "[]byte"
	GoComplex64  = "complex64"
	GoComplex128 = "complex128"
)
