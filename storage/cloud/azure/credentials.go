package azure

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage/cloud/internal/answers"
	"github.com/go-orbax/orbax/storage/cloud/internal/connections"
)

// environment is an account and its credentials, as the environment has them.
type environment struct {
	service string // address, without a slash at the end; "" if there is no account
	account string
	key     string
	sas     string
	whole   bool // it comes from the connection string
}

// from says where the credentials come from: the variable, or the connection string.
func (e *environment) from(variable string) string {
	if e.whole {
		return "AZURE_STORAGE_CONNECTION_STRING"
	}
	return variable
}

// read reads the variables of the environment. A connection string has all, and so excludes
// the others.
func (e *environment) read() error {
	if text := os.Getenv("AZURE_STORAGE_CONNECTION_STRING"); text != "" {
		return e.parse(text)
	}
	e.account = os.Getenv("AZURE_STORAGE_ACCOUNT")
	if e.account == "" {
		return nil
	}
	if strings.ContainsFunc(e.account, func(r rune) bool { return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-') }) {
		return fmt.Errorf("%w: AZURE_STORAGE_ACCOUNT is no name of an account: it has lower-case letters and digits", fault.ErrUsage)
	}
	e.service = strings.TrimRight(os.Getenv("AZURE_STORAGE_SERVICE_ENDPOINT"), "/")
	if e.service == "" {
		e.service = "https://" + e.account + ".blob.core.windows.net"
	}
	e.key = os.Getenv("AZURE_STORAGE_KEY")
	e.sas = strings.TrimPrefix(os.Getenv("AZURE_STORAGE_SAS_TOKEN"), "?")
	return checkService("AZURE_STORAGE_SERVICE_ENDPOINT", e.service)
}

// fieldNames are the fields that a connection string may have, in lower case.
var fieldNames = []string{
	"accountname", "accountkey", "sharedaccesssignature", "blobendpoint", "blobsecondaryendpoint", "defaultendpointsprotocol", "endpointsuffix", "usedevelopmentstorage",
	"developmentstorageproxyuri", "queueendpoint", "queuesecondaryendpoint", "tableendpoint", "tablesecondaryendpoint", "fileendpoint", "filesecondaryendpoint",
}

// parse reads a connection string.
func (e *environment) parse(text string) error {
	e.whole = true
	fields := map[string]string{}
	for field := range strings.SplitSeq(text, ";") {
		name, v, ok := strings.Cut(strings.TrimSpace(field), "=")
		name = strings.ToLower(name)
		if name != "" && (!ok || !slices.Contains(fieldNames, name)) { // which is not shown: it may be a piece of the key
			return fmt.Errorf("%w: AZURE_STORAGE_CONNECTION_STRING has a part that is no field of it; its fields are Name=value, with semicolons between them, such as AccountName=…;AccountKey=…", fault.ErrUsage)
		}
		fields[name] = v
	}
	e.account, e.key = fields["accountname"], fields["accountkey"]
	e.sas = strings.TrimPrefix(fields["sharedaccesssignature"], "?")
	e.service = strings.TrimRight(fields["blobendpoint"], "/")
	if e.service == "" && e.account != "" {
		e.service = cmp.Or(fields["defaultendpointsprotocol"], "https") + "://" + e.account + ".blob." + cmp.Or(fields["endpointsuffix"], "core.windows.net")
	}
	switch {
	case fields["usedevelopmentstorage"] != "":
		return fmt.Errorf("%w: AZURE_STORAGE_CONNECTION_STRING: UseDevelopmentStorage is not known here; give AccountName, AccountKey and BlobEndpoint of the emulator", fault.ErrUsage)
	case e.service == "":
		return fmt.Errorf("%w: AZURE_STORAGE_CONNECTION_STRING has neither AccountName nor BlobEndpoint", fault.ErrUsage)
	case e.key == "" && e.sas == "":
		return fmt.Errorf("%w: AZURE_STORAGE_CONNECTION_STRING has neither AccountKey nor SharedAccessSignature; for an identity or a public container, set AZURE_STORAGE_ACCOUNT instead", fault.ErrUsage)
	case e.key != "" && e.account == "":
		return fmt.Errorf("%w: AZURE_STORAGE_CONNECTION_STRING has an AccountKey and no AccountName", fault.ErrUsage)
	}
	if err := checkService("AZURE_STORAGE_CONNECTION_STRING", e.service); err != nil {
		return err
	}
	if e.account == "" {
		e.account = accountIn(e.service)
	}
	return nil
}

// accountIn returns the account of the address of a service.
func accountIn(service string) string {
	u, err := url.Parse(service)
	if err != nil {
		return ""
	}
	if account, ok := accountOf(u.Hostname()); ok {
		return account
	}
	return strings.Trim(u.Path, "/")
}

// checkService returns an error if the address of a service is none. It does not quote it,
// because it can have credentials.
func checkService(variable, service string) error {
	u, err := url.Parse(service)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.User != nil || u.Fragment != "" {
		return fmt.Errorf("%w: %s does not have the address of a service, such as https://ACCOUNT.blob.core.windows.net", fault.ErrUsage, variable)
	}
	return nil
}

// way is a container and the credentials for it. Without any of these, requests have none.
type way struct {
	address      string // of the container
	sas          string
	account, key string
	identity     *identity
	source       string // where the credentials come from, for errors
}

// wayTo returns the way to a container. It takes the first credentials that there are: a SAS
// token in the URL, the environment, an identity, none.
func wayTo(ctx context.Context, p place, env environment) (way, error) {
	w := way{address: p.service + "/" + url.PathEscape(p.container), sas: p.sas, source: "the SAS token in the URL"}
	if w.sas == "" && env.key == "" {
		w.sas, w.source = env.sas, env.from("AZURE_STORAGE_SAS_TOKEN")
	}
	if w.sas != "" {
		return w, nil
	}
	w.source = ""
	switch {
	case env.key != "":
		w.account, w.key, w.source = env.account, env.key, env.from("AZURE_STORAGE_KEY")
	case strings.HasPrefix(w.address, "https:"):
		there, err := defaultIdentity.get(ctx)
		if err != nil {
			return way{}, err
		}
		if there != nil {
			w.identity, w.source = &defaultIdentity, "the identity of the environment, of this machine or of `az login`"
		}
	}
	return w, nil
}

// connect returns the client of a container.
func (w way) connect() (client *container.Client, err error) {
	options := &container.ClientOptions{ClientOptions: azcore.ClientOptions{
		Retry:     policy.RetryOptions{MaxRetries: -1},
		Transport: transport(),
	}}
	switch {
	case w.sas != "":
		client, err = container.NewClientWithNoCredential(w.address+"?"+w.sas, options)
	case w.key != "":
		var key *container.SharedKeyCredential
		if key, err = container.NewSharedKeyCredential(w.account, w.key); err != nil { // the error may quote the key
			return nil, fmt.Errorf("%w: the key of the account %s is not base64; correct AZURE_STORAGE_KEY or AZURE_STORAGE_CONNECTION_STRING", fault.ErrUsage, w.account)
		}
		client, err = container.NewClientWithSharedKeyCredential(w.address, key, options)
	case w.identity != nil:
		client, err = container.NewClient(w.address, w.identity, options)
	default:
		client, err = container.NewClientWithNoCredential(w.address, options)
	}
	return client, unusable(err)
}

// unusable returns the error of a client that cannot be made.
func unusable(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: no client for the container: %s", fault.ErrUsage, cleaned(err.Error(), ""))
}

// transport returns the HTTP client of all containers that are opened by their URLs. It does
// not follow redirections: Azure sends none, and another host could learn a SAS token.
var transport = sync.OnceValue(func() *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = 64
	t.WriteBufferSize, t.ReadBufferSize = 64<<10, 64<<10
	t.DialContext = answers.Noting(t.DialContext)
	connections.Reuse(t)
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
})

// scope is the scope of the tokens for Azure Storage.
const scope = "https://storage.azure.com/.default"

// defaultIdentity is the identity of this process.
var defaultIdentity = identity{find: func() (azcore.TokenCredential, error) { return azidentity.NewDefaultAzureCredential(nil) }}

// identity is the identity that package azidentity finds: of the environment, of the machine,
// or of a program such as az. It keeps tokens, because some of those programs take a second.
type identity struct {
	find func() (azcore.TokenCredential, error)

	mu     sync.Mutex
	inner  azcore.TokenCredential
	absent time.Time // when there was none
	tokens map[string]azcore.AccessToken
}

// absentTime is how long it is not looked for an identity again, which takes seconds.
const absentTime = time.Minute

// get returns the identity, or nil if there is none.
func (i *identity) get(ctx context.Context) (azcore.TokenCredential, error) {
	i.mu.Lock()
	recently := !i.absent.IsZero() && time.Since(i.absent) < absentTime
	if i.inner == nil && !recently {
		inner, err := i.find()
		if err != nil {
			i.mu.Unlock()
			return nil, fmt.Errorf("%w: the identity of the environment is not usable: %s", fault.ErrUsage, cleaned(err.Error(), ""))
		}
		i.inner = inner
	}
	i.mu.Unlock()
	if recently {
		return nil, nil
	}
	_, err := i.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{scope}, EnableCAE: true})
	var failed *azidentity.AuthenticationFailedError
	switch {
	case err == nil || ctx.Err() == nil && errors.As(err, &failed):
		return i, nil // requests report what has failed
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.inner, i.absent = nil, time.Now()
	return nil, nil
}

// GetToken implements [azcore.TokenCredential].
func (i *identity) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	id := fmt.Sprint(o.Scopes, o.TenantID, o.EnableCAE)
	i.mu.Lock()
	token, inner := i.tokens[id], i.inner
	i.mu.Unlock()
	if o.Claims == "" && token.Token != "" && time.Until(token.ExpiresOn) > 5*time.Minute {
		return token, nil
	}
	if inner == nil {
		return azcore.AccessToken{}, azidentity.NewCredentialUnavailableError("no identity was found")
	}
	token, err := inner.GetToken(ctx, o)
	if err != nil {
		return token, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.tokens == nil {
		i.tokens = map[string]azcore.AccessToken{}
	}
	i.tokens[id] = token
	return token, nil
}
