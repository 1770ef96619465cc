module github.com/go-orbax/orbax/cmd/orbax

go 1.26.0

require (
	github.com/go-orbax/orbax v0.0.0
	github.com/spf13/cobra v1.10.2 // verbs, flags, help and shell completion
)

// Tests only.
require (
	github.com/rogpeppe/go-internal v1.16.0
	pgregory.net/rapid v1.3.0
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/spf13/pflag v1.0.9 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/tools v0.26.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

replace github.com/go-orbax/orbax => ../..
