// Package cloud is the root of a module with the drivers of object stores. It has no code
// itself. A program imports the packages of the clouds that it uses:
//
//	import _ "github.com/go-orbax/orbax/storage/cloud/s3"
//
// Then every function of package orbax accepts the URLs of that cloud. The drivers are a
// module of their own, because the clients of the clouds are large.
package cloud
