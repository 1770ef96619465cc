// Package azure keeps checkpoints in Azure Blob Storage. It registers the scheme azblob and
// the addresses of Azure:
//
//	import _ "github.com/go-orbax/orbax/storage/cloud/azure"
//
//	err := orbax.Save(ctx, "azblob://container/run/step_100", state)
//	err := orbax.Save(ctx, "https://ACCOUNT.blob.core.windows.net/container/run/step_100", state)
//
// In a URL, % and two hexadecimal digits stand for a byte. The address of an emulator,
// http://127.0.0.1:10000/ACCOUNT/container/run/step_100, works too. The schemes https and
// http are registered for these addresses alone: any other web address is an error that
// matches orbax.ErrUnsupported.
//
// # Credentials
//
// The account of an azblob:// path is that of AZURE_STORAGE_CONNECTION_STRING, or
// AZURE_STORAGE_ACCOUNT, whose service is at AZURE_STORAGE_SERVICE_ENDPOINT if that is set.
// The credentials are the first of
//   - a SAS token, which is the query of the URL
//   - those of AZURE_STORAGE_CONNECTION_STRING; if it is set, the following variables are not
//     used
//   - AZURE_STORAGE_KEY, the key of AZURE_STORAGE_ACCOUNT
//   - AZURE_STORAGE_SAS_TOKEN, a token for AZURE_STORAGE_ACCOUNT
//   - the default credential of azidentity: an identity in the environment
//     (AZURE_CLIENT_ID …), that of the machine, or the one of `az login`
//   - none: public containers can be read.
//
// Variables apply to the account that they name; a URL of another account is opened with an
// identity or without credentials. Errors have neither keys nor tokens. A program with a
// client of its own calls [New].
//
// An identity needs the role Storage Blob Data Reader on the container to load, and Storage
// Blob Data Contributor to save. A SAS token of the container needs the permissions rl to
// load and racwdl to save.
//
// # Objects
//
// The version of an object is its ETag. The service checks a CRC64 of everything that is
// written. An object that is uploaded in parts becomes blocks, and then a block list. Azure
// has no request that removes the blocks of one upload: Upload.Abort removes them where
// nothing else of the key is lost by that. Blocks that are left, for instance by a process
// that has died, are not visible, cost as much as other data, and go when an object is made
// under the key, or one week after the last of them was uploaded.
//
// Azure changes names that have a backslash, or a path element that ends in a dot. They are
// refused. Accounts with a hierarchical namespace (Data Lake Storage) are not supported:
// they have directories that stay when they are empty.
package azure

import (
	"context"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"

	"github.com/go-orbax/orbax/storage/object"
)

// New returns a bucket for [object.New]. client has the address of the container, and the
// credentials. The retries of the client are not used, because [object.Store] has its own.
//
// New sends no request: a container that does not exist is an error of the first use.
func New(client *container.Client) object.Bucket { return newBucket(client) }

func newBucket(client *container.Client) *bucket {
	b := &bucket{client: client, container: "the container"}
	if parts, err := blob.ParseURL(client.URL()); err == nil {
		b.container = parts.ContainerName
		b.account = parts.IPEndpointStyleInfo.AccountName
		if b.account == "" {
			b.account, _, _ = strings.Cut(parts.Host, ".")
		}
		b.sas = parts.SAS
	}
	return b
}

// bucket is a container.
type bucket struct {
	client    *container.Client
	account   string
	container string
	sas       sas.QueryParameters // of the address of the client; zero if it has none
	source    string              // of the credentials, for messages; "" if it is not known
}

func (b *bucket) Limits() object.Limits {
	return object.Limits{
		MinPart:         1,
		MaxPart:         4000 << 20,
		MaxParts:        50_000,
		Concurrency:     16,
		ComparesDeletes: true,
	}
}

// once returns a context in which the client tries a request once.
func once(ctx context.Context) context.Context {
	return policy.WithRetryOptions(ctx, policy.RetryOptions{MaxRetries: -1})
}
