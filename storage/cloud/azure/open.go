package azure

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"regexp"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/cloud/internal/opened"
	"github.com/go-orbax/orbax/storage/object"
)

func init() {
	storage.Register("azblob", openContainer)
	storage.Register("https", openAddress)
	storage.Register("http", openAddress)
}

// stores are the stores of the URLs that have been opened.
var stores opened.Stores[way]

// place is a container.
type place struct {
	service   string // address, without a slash at the end
	account   string
	container string
	sas       string // SAS token of the URL, or ""
}

// openContainer returns the store of azblob://container/name.
func openContainer(ctx context.Context, u *url.URL) (storage.Store, string, error) {
	if u.User != nil || u.Port() != "" {
		return nil, "", fmt.Errorf("%w: an azblob:// path has no user and no port: write azblob://container/path; the credentials come from the environment", fs.ErrInvalid)
	}
	p := place{container: u.Host}
	var env environment
	if err := env.read(); err != nil {
		return nil, "", err
	}
	if env.service == "" {
		return nil, "", fmt.Errorf("%w: an azblob:// path needs an account: set AZURE_STORAGE_ACCOUNT or AZURE_STORAGE_CONNECTION_STRING, or write https://ACCOUNT.blob.core.windows.net/container/path", fault.ErrUsage)
	}
	p.service, p.account = env.service, env.account
	return open(ctx, u, p, u.Path, env)
}

// azureHosts are the ends of the hosts of Azure, in its public and its national clouds.
var azureHosts = []string{
	".blob.core.windows.net", ".blob.storage.azure.net",
	".blob.core.usgovcloudapi.net", ".blob.core.chinacloudapi.cn",
}

// accountOf returns the account that a host of Azure is named after.
func accountOf(host string) (account string, ok bool) {
	host = strings.ToLower(host)
	for _, end := range azureHosts {
		if name, ok := strings.CutSuffix(host, end); ok {
			account, _, _ = strings.Cut(name, ".") // the name of a zone may follow
			return account, account != ""
		}
	}
	return "", false
}

// openAddress returns the store of https://ACCOUNT.blob.core.windows.net/container/name, or
// of http://127.0.0.1:10000/ACCOUNT/container/name, the address of an emulator.
func openAddress(ctx context.Context, u *url.URL) (storage.Store, string, error) {
	elements := strings.SplitN(strings.TrimPrefix(u.Path, "/"), "/", 3)
	p := place{service: u.Scheme + "://" + strings.ToLower(u.Host)}
	account, isAzure := accountOf(u.Hostname())
	switch {
	case u.User != nil:
		return nil, "", fmt.Errorf("%w: the address of a container has no user; the credentials come from the environment, or are a SAS token in the query", fs.ErrInvalid)
	case isAzure && u.Scheme == "https":
		p.account = account
	case isLoopback(u.Hostname()):
		p.account = elements[0]
		p.service += "/" + p.account
		elements = elements[1:]
	default:
		return nil, "", fmt.Errorf("%w: %s://%s is no address of a checkpoint: this program knows https://ACCOUNT.blob.core.windows.net/container/path of Azure, and http://127.0.0.1:10000/ACCOUNT/container/path of its emulator; other web addresses cannot be read", fault.ErrUnsupported, u.Scheme, u.Host)
	}
	if len(elements) > 0 {
		p.container = elements[0]
		elements = elements[1:]
	}
	var env environment
	if err := env.read(); err != nil {
		return nil, "", err
	}
	if !strings.EqualFold(env.account, p.account) {
		env = environment{} // its credentials are for another account
	}
	return open(ctx, u, p, strings.Join(elements, "/"), env)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback() || strings.EqualFold(host, "localhost")
}

var containerName = regexp.MustCompile(`^(\$root|\$web|\$logs|[a-z0-9](-?[a-z0-9]){2,62})$`)

// open returns the store of a container, and the name of a path in it.
func open(ctx context.Context, u *url.URL, p place, name string, env environment) (storage.Store, string, error) {
	if !containerName.MatchString(p.container) {
		return nil, "", fmt.Errorf("%w: %q is no name of a container: write azblob://container/path or https://ACCOUNT.blob.core.windows.net/container/path, with 3 to 63 lower-case letters, digits and single hyphens in the container", fault.ErrUsage, p.container)
	}
	switch {
	case u.Fragment != "":
		return nil, "", fmt.Errorf("%w: the path has a fragment; in a name write %%23 for #", fs.ErrInvalid)
	case u.RawQuery != "" && !u.Query().Has("sig"):
		return nil, "", fmt.Errorf("%w: the query of the path is no SAS token; in a name write %%3F for ?", fs.ErrInvalid)
	}
	p.sas = u.RawQuery
	name, err := object.NameIn(name)
	if err != nil {
		return nil, "", err
	}
	w, err := wayTo(ctx, p, env)
	if err != nil {
		return nil, "", err
	}
	store, err := stores.Get(w, func() (object.Bucket, error) {
		client, err := w.connect()
		if err != nil {
			return nil, err
		}
		b := newBucket(client)
		b.source = w.source
		return b, nil
	})
	if err != nil {
		return nil, "", err
	}
	return store, name, nil
}
