//go:build 386 || arm || mips || mipsle

package fault

// Sizes of chunks and arrays are ints, and may exceed 32 bits; so may what a
// checkpoint claims. The build stops here, in the package that all others import, on
// hosts where they would overflow. Supported are the 64-bit systems of Go.
const _ = hostsOf32BitsAreNotSupported
