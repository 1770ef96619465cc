package azure

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

// fakeIdentity is an identity that counts its tokens, or has an error.
type fakeIdentity struct {
	err   error
	life  time.Duration
	count int
}

func (f *fakeIdentity) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	f.count++
	if err := ctx.Err(); err != nil {
		return azcore.AccessToken{}, err
	}
	return azcore.AccessToken{Token: "token", ExpiresOn: time.Now().Add(f.life)}, f.err
}

// The identity keeps its tokens until shortly before they expire.
func TestIdentityKeepsTokens(t *testing.T) {
	o := policy.TokenRequestOptions{Scopes: []string{scope}, EnableCAE: true}
	for life, want := range map[time.Duration]int{time.Hour: 1, time.Minute: 3} {
		inner := &fakeIdentity{life: life}
		i := &identity{find: func() (azcore.TokenCredential, error) { return inner, nil }}
		got, err := i.get(t.Context())
		if err != nil || got != azcore.TokenCredential(i) {
			t.Fatalf("got %v, %v", got, err)
		}
		for range 2 {
			if token, err := got.GetToken(t.Context(), o); err != nil || token.Token != "token" {
				t.Errorf("got %v, %v", token, err)
			}
		}
		if inner.count != want {
			t.Errorf("a token that lives %v was fetched %d times, want %d", life, inner.count, want)
		}
		o := o
		o.Claims = "more"
		if got.GetToken(t.Context(), o); inner.count != want+1 {
			t.Error("a request with claims got an old token")
		}
	}
}

// Without an identity there are no credentials; one that fails is kept, so that requests
// report why.
func TestIdentityErrors(t *testing.T) {
	none := &fakeIdentity{err: azidentity.NewCredentialUnavailableError("none here")}
	finds := 0
	i := &identity{find: func() (azcore.TokenCredential, error) { finds++; return none, nil }}
	for range 3 {
		if got, err := i.get(t.Context()); got != nil || err != nil {
			t.Errorf("got %v, %v", got, err)
		}
	}
	if finds != 1 || none.count != 1 {
		t.Errorf("it was looked for an identity %d times, and for tokens %d times, within a minute", finds, none.count)
	}
	i.absent = time.Now().Add(-2 * absentTime)
	none.err, none.life = nil, time.Hour
	if got, err := i.get(t.Context()); got == nil || err != nil {
		t.Errorf("after a minute: got %v, %v", got, err)
	}

	failing := &fakeIdentity{err: &azidentity.AuthenticationFailedError{}}
	i = &identity{find: func() (azcore.TokenCredential, error) { return failing, nil }}
	if got, err := i.get(t.Context()); got == nil || err != nil {
		t.Errorf("an identity that fails: got %v, %v", got, err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	i = &identity{find: func() (azcore.TokenCredential, error) { return &fakeIdentity{life: time.Hour}, nil }}
	if _, err := i.get(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	if got, err := i.get(t.Context()); got == nil || err != nil {
		t.Errorf("after a call that was cancelled: got %v, %v", got, err)
	}
}
