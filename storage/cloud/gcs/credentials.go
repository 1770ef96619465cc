package gcs

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage/cloud/internal/answers"
	"github.com/go-orbax/orbax/storage/cloud/internal/connections"
)

// Scope is the scope of OAuth that the requests of this package need.
const Scope = "https://www.googleapis.com/auth/devstorage.read_write"

// plainClient returns the client for requests without credentials, whose connections all
// buckets share.
var plainClient = sync.OnceValue(func() *http.Client { return &http.Client{Transport: newTransport()} })

// newTransport returns a transport for many requests at the same time.
func newTransport() *http.Transport {
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           answers.Noting((&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext),
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		WriteBufferSize:       64 << 10,
		ReadBufferSize:        64 << 10,
	}
	connections.Reuse(t)
	return t
}

// withCredentials are the clients of [fromEnvironment], by the file of their credentials.
// Each keeps its token, and its connections.
var withCredentials = struct {
	sync.Mutex
	clients map[string]*http.Client
}{clients: map[string]*http.Client{}}

// fromEnvironment returns the client and the options that the environment asks for. The
// client is nil if there are no credentials.
func fromEnvironment(ctx context.Context) (*http.Client, Options, error) {
	if host := os.Getenv("STORAGE_EMULATOR_HOST"); host != "" {
		if !strings.Contains(host, "://") {
			host = "http://" + host
		}
		return nil, Options{Endpoint: strings.TrimRight(host, "/")}, nil
	}
	if off, _ := strconv.ParseBool(os.Getenv("CLOUDSDK_AUTH_DISABLE_CREDENTIALS")); off {
		return nil, Options{}, nil
	}
	file := os.Getenv("GOOGLE_APPLICATION_CREDENTIALS")
	withCredentials.Lock()
	defer withCredentials.Unlock()
	if client := withCredentials.clients[file]; client != nil {
		return client, Options{}, nil
	}
	// The client gets tokens as long as it is used, longer than this call takes.
	base := &http.Client{Transport: newTransport()}
	ctx = context.WithValue(context.WithoutCancel(ctx), oauth2.HTTPClient, base)
	credentials, err := google.FindDefaultCredentials(ctx, Scope)
	switch {
	case err == nil:
	case file == "" && strings.Contains(err.Error(), "could not find default credentials"):
		return nil, Options{}, nil
	default:
		return nil, Options{}, badCredentials(file)
	}
	if err := checkKey(credentials.JSON, file); err != nil {
		return nil, Options{}, err
	}
	client := oauth2.NewClient(ctx, credentials.TokenSource)
	withCredentials.clients[file] = client
	return client, Options{}, nil
}

// badCredentials is the error for credentials that cannot be read. The text of the cause is
// left out: it may quote the file.
func badCredentials(file string) error {
	if file == "" {
		return fmt.Errorf("%w: the file of the Application Default Credentials cannot be read, or is not of a known kind; %s", fault.ErrUsage, logIn)
	}
	return fmt.Errorf("%w: GOOGLE_APPLICATION_CREDENTIALS names the file %s, which cannot be read, or has no credentials of a known kind", fault.ErrUsage, file)
}

// badKey says that the key of a service account is damaged.
const badKey = "the private key of the service account is damaged; make the account a new one with `gcloud iam service-accounts keys create`"

// checkKey returns an error if credentials are those of a service account with a key that
// signs nothing.
func checkKey(credentials []byte, file string) error {
	var account struct {
		Type string `json:"type"`
		Key  string `json:"private_key"`
	}
	if json.Unmarshal(credentials, &account) != nil || account.Type != "service_account" {
		return nil
	}
	key := []byte(account.Key)
	if block, _ := pem.Decode(key); block != nil {
		key = block.Bytes
	}
	_, err := x509.ParsePKCS8PrivateKey(key)
	if err != nil {
		_, err = x509.ParsePKCS1PrivateKey(key)
	}
	if err != nil { // which is not passed on
		return fmt.Errorf("%w: %s: %s", fault.ErrUsage, sourceOf(file), badKey)
	}
	return nil
}

// sourceOf says where the credentials of [fromEnvironment] come from. file is that of
// GOOGLE_APPLICATION_CREDENTIALS.
func sourceOf(file string) string {
	if file != "" {
		return "the file " + file + " in GOOGLE_APPLICATION_CREDENTIALS"
	}
	return "`gcloud auth application-default login`, or the account of this machine"
}

// logIn is the advice for missing and expired credentials.
const logIn = "run `gcloud auth application-default login`, or let GOOGLE_APPLICATION_CREDENTIALS name the file of a service account"
