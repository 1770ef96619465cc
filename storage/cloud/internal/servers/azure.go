package servers

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// AzureAccount is the account of [Azure], and AzureKey its key.
const AzureAccount = "orbaxtest"

var AzureKey = base64.StdEncoding.EncodeToString([]byte(strings.Repeat("an account key for tests, ", 4)))

// Azure is azurite, an emulator of Azure Blob Storage. Its service is
// http://ADDRESS/orbaxtest. It has no container at first.
var Azure = &Server{
	Command: func(t testing.TB, addr, data string) *exec.Cmd { return azuriteAt(t, addr, data) },
	Ready:   func(ctx context.Context, addr string) error { return answers(ctx, "http://"+addr, "Azurite") },
}

// AzureIdentity is like [Azure], with https, and accepts an [AzureToken] too. Its clients
// use [Insecure].
var AzureIdentity = &Server{
	Command: func(t testing.TB, addr, data string) *exec.Cmd {
		certificate, key := selfSigned(t, data)
		return azuriteAt(t, addr, data, "--cert", certificate, "--key", key, "--oauth", "basic")
	},
	Ready: func(ctx context.Context, addr string) error {
		c, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		return c.Close()
	},
}

// Insecure is an HTTP client that accepts every certificate.
var Insecure = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConnsPerHost: 32}}

var azurite = NpmTool("azurite", "3.37.0")

// azuriteAt returns the command of azurite with more options.
func azuriteAt(t testing.TB, addr, data string, options ...string) *exec.Cmd {
	script := filepath.Join(azurite.Dir(t), "node_modules", "azurite", "dist", "src", "blob", "main.js")
	host, port, _ := strings.Cut(addr, ":")
	// It checks the versions of the interface that it knows, and the client may be newer.
	cmd := exec.Command("node", append([]string{script, "--blobHost", host, "--blobPort", port, "--location", data,
		"--silent", "--skipApiVersionCheck", "--disableTelemetry"}, options...)...)
	cmd.Env = append(os.Environ(), "AZURITE_ACCOUNTS="+AzureAccount+":"+AzureKey)
	cmd.Dir = data
	return cmd
}

// AzureToken returns a token of an identity, valid for an hour. azurite does not check its
// signature.
func AzureToken() string {
	part := func(v any) string {
		text, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(text)
	}
	now := time.Now()
	return part(map[string]any{"alg": "HS256", "typ": "JWT"}) + "." + part(map[string]any{
		"aud": "https://storage.azure.com", "iss": "https://sts.windows.net/00000000-0000-0000-0000-000000000000/",
		"iat": now.Unix(), "nbf": now.Add(-time.Minute).Unix(), "exp": now.Add(time.Hour).Unix(),
	}) + ".c2lnbmF0dXJl"
}

// selfSigned makes a certificate for the loopback address, in two files.
func selfSigned(t testing.TB, dir string) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	made, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, bytes []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	return write("certificate.pem", "CERTIFICATE", made), write("key.pem", "PRIVATE KEY", encoded)
}
