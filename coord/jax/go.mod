module github.com/go-orbax/orbax/coord/jax

go 1.26.0

require (
	github.com/go-orbax/orbax v0.0.0-00010101000000-000000000000 // a release sets the version; here go.work has the module
	google.golang.org/grpc v1.83.2 // the service of JAX
	google.golang.org/protobuf v1.36.12 // protowire, for its few messages
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	golang.org/x/net v0.58.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.41.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260526163538-3dc84a4a5aaa // indirect
)
