package azure_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/go-orbax/orbax/storage/cloud/internal/servers"
)

func TestMain(m *testing.M) { servers.Main(m) }

var containers atomic.Int64

// newContainer makes a container in the shared server. It returns the address of the
// service, and the client of the container.
func newContainer(t testing.TB, o *container.CreateOptions) (service string, client *container.Client) {
	t.Helper()
	service = "http://" + servers.Azure.Shared(t) + "/" + servers.AzureAccount
	name := fmt.Sprintf("c%03d", containers.Add(1))
	client = keyClient(t, service+"/"+name)
	if _, err := client.Create(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	return service, client
}

// keyClient returns a client with the key of the account.
func keyClient(t testing.TB, address string) *container.Client {
	t.Helper()
	key, err := container.NewSharedKeyCredential(servers.AzureAccount, servers.AzureKey)
	if err != nil {
		t.Fatal(err)
	}
	c, err := container.NewClientWithSharedKeyCredential(address, key, &container.ClientOptions{ClientOptions: azcore.ClientOptions{
		Retry: policy.RetryOptions{MaxRetries: -1},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// nameOf returns the name of a container.
func nameOf(c *container.Client) string { return c.URL()[strings.LastIndex(c.URL(), "/")+1:] }
