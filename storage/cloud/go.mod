module github.com/go-orbax/orbax/storage/cloud

go 1.26.0

require (
	github.com/go-orbax/orbax v0.0.0-00010101000000-000000000000 // a release sets the version; here go.work has the module
	golang.org/x/oauth2 v0.38.0 // tokens for Google Cloud Storage
)

require (
	cloud.google.com/go/compute/metadata v0.3.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)
