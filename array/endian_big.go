//go:build armbe || arm64be || m68k || mips || mips64 || mips64p32 || ppc || ppc64 || s390 || s390x || shbe || sparc || sparc64

package array

// An Array's bytes are little-endian, as they are in a checkpoint, and Values views them
// as Go values without a copy. This works on little-endian hosts only, so the build stops
// here on all others.
const _ = bigEndianHostsAreNotSupported
