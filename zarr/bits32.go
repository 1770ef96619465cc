//go:build 386 || arm || mips || mipsle

package zarr

// Sizes of chunks and arrays are ints, and may exceed 32 bits; so may what a
// checkpoint claims. The build stops here on hosts where they would overflow.
const _ = hostsOf32BitsAreNotSupported
