//go:build 386 || arm || mips || mipsle

package fault

// Sizes of chunks and arrays are ints and may exceed 32 bits, and so may sizes that a
// checkpoint states. On hosts where they would overflow, the build stops here, in the
// package that all others import. The 64-bit systems of Go are supported.
const _ = hostsOf32BitsAreNotSupported
