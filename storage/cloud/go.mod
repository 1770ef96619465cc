module github.com/go-orbax/orbax/storage/cloud

go 1.26.0

require github.com/go-orbax/orbax v0.0.0-00010101000000-000000000000 // a release sets the version; here go.work has the module
