module github.com/go-orbax/orbax

go 1.26.0

require (
	github.com/cespare/xxhash/v2 v2.3.0 // content checksum of the zstd frames that package zarr frames itself
	github.com/klauspost/compress v1.20.3 // zstd, its Huffman coder, and the other codecs of zarr and OCDBT
	golang.org/x/sync v0.24.0 // a weighted semaphore for the memory budget
	golang.org/x/sys v0.49.0 // O_DIRECT, renameat2, flock
	google.golang.org/protobuf v1.36.12 // checkpointables that are protocol buffers
)

// The command line only: no package of the library imports it (deps_test.go).
require github.com/spf13/cobra v1.10.2 // verbs, flags, help and shell completion

// Tests only.
require (
	github.com/rogpeppe/go-internal v1.16.0 // testscript: the scripts of the command line's tests
	pgregory.net/rapid v1.3.0 // property tests
)

require (
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/spf13/pflag v1.0.9 // indirect
	golang.org/x/tools v0.26.0 // indirect
)
