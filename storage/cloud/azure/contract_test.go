package azure_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/go-orbax/orbax/storage/cloud/azure"
	"github.com/go-orbax/orbax/storage/cloud/internal/servers"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/storage/object/buckettest"
)

// A bucket keeps its contract with the key of the account.
func TestContract(t *testing.T) {
	buckettest.Run(t, func(t *testing.T) object.Bucket {
		_, client := newContainer(t, nil)
		return azure.New(client)
	}, buckettest.Options{})
}

// A bucket keeps its contract with a SAS token.
func TestContractWithSASToken(t *testing.T) {
	buckettest.Run(t, func(t *testing.T) object.Bucket {
		_, client := newContainer(t, nil)
		return bare(t, client.URL()+"?"+sasOf(t, nameOf(client), everything, time.Now().Add(-time.Hour), time.Now().Add(time.Hour)), nil)
	}, buckettest.Options{})
}

// A bucket keeps its contract with an identity.
func TestContractWithIdentity(t *testing.T) {
	buckettest.Run(t, func(t *testing.T) object.Bucket {
		address := fmt.Sprintf("https://%s/%s/c%03d", servers.AzureIdentity.Shared(t), servers.AzureAccount, containers.Add(1))
		client, err := container.NewClient(address, fixedToken(servers.AzureToken()), &container.ClientOptions{ClientOptions: azcore.ClientOptions{Transport: servers.Insecure}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Create(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		return azure.New(client)
	}, buckettest.Options{})
}

// goneIdentity is an identity that gives no token.
type goneIdentity struct{}

func (goneIdentity) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{}, azidentity.NewCredentialUnavailableError("no login")
}

// fixedToken is an identity with one token.
type fixedToken string

func (f fixedToken) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(f), ExpiresOn: time.Now().Add(time.Hour)}, nil
}
