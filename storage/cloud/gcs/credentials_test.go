package gcs

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/oauth2/google"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage/object"
)

// clearEnvironment removes what chooses credentials.
func clearEnvironment(t *testing.T) {
	t.Helper()
	home := t.TempDir()
	for name, value := range map[string]string{
		"HOME": home, "APPDATA": home, "NO_GCE_CHECK": "true", "GOOGLE_APPLICATION_CREDENTIALS": "", "STORAGE_EMULATOR_HOST": "",
		"CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "", "GCE_METADATA_HOST": "",
	} {
		t.Setenv(name, value)
	}
}

// serviceAccount writes the file of a service account whose tokens come from a server.
func serviceAccount(t *testing.T, tokens string) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "a@b.iam", "private_key_id": "id", "token_uri": tokens,
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})),
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "account.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestEnvironment(t *testing.T) {
	t.Run("nothing", func(t *testing.T) {
		clearEnvironment(t)
		client, o, err := fromEnvironment(t.Context())
		if client != nil || o != (Options{}) || err != nil {
			t.Errorf("got the client %v, %v, %v", client, o, err)
		}
	})
	for host, want := range map[string]string{"127.0.0.1:99": "http://127.0.0.1:99", "http://x:1/": "http://x:1", "https://x": "https://x"} {
		t.Run(host, func(t *testing.T) {
			clearEnvironment(t)
			t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere")
			t.Setenv("STORAGE_EMULATOR_HOST", host)
			client, o, err := fromEnvironment(t.Context())
			if client != nil || o.Endpoint != want || err != nil {
				t.Errorf("got the client %v, %v, %v", client, o, err)
			}
			if _, err := New(client, "bucket", o); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("disabled", func(t *testing.T) {
		clearEnvironment(t)
		t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere")
		t.Setenv("CLOUDSDK_AUTH_DISABLE_CREDENTIALS", "true")
		if client, _, err := fromEnvironment(t.Context()); client != nil || err != nil {
			t.Errorf("got the client %v, %v", client, err)
		}
	})
	t.Run("bad file", func(t *testing.T) {
		clearEnvironment(t)
		file := filepath.Join(t.TempDir(), "account.json")
		if err := os.WriteFile(file, []byte(`{"type":"SECRET","private_key":"SECRET"`), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
		_, _, err := fromEnvironment(t.Context())
		if err == nil || strings.Contains(err.Error(), "SECRET") || !strings.Contains(err.Error(), file) {
			t.Errorf("got the error %v", err)
		}
		t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
		known := filepath.Join(os.Getenv("HOME"), ".config", "gcloud", "application_default_credentials.json")
		if err := os.MkdirAll(filepath.Dir(known), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file, known); err != nil {
			t.Fatal(err)
		}
		if _, _, err := fromEnvironment(t.Context()); err == nil || strings.Contains(err.Error(), "SECRET") || !strings.Contains(err.Error(), "gcloud auth") {
			t.Errorf("got the error %v", err)
		}
	})
}

// A service account whose key is damaged is an error at once, which names the file and what
// to do; so is a client of the program with such a key.
func TestDamagedKey(t *testing.T) {
	for name, key := range map[string]string{
		"nothing": "", "no key": "SECRET", "half a key": "-----BEGIN PRIVATE KEY-----\nU0VDUkVU\n-----END PRIVATE KEY-----\n",
	} {
		clearEnvironment(t)
		text, err := json.Marshal(map[string]string{"type": "service_account", "client_email": "a@b.iam", "private_key": key, "token_uri": "http://127.0.0.1:1"})
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "account.json")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
		_, _, err = fromEnvironment(t.Context())
		if !errors.Is(err, fault.ErrUsage) || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "keys create") || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: got %v", name, err)
		}
		c, err := google.JWTConfigFromJSON(text, Scope)
		if err != nil {
			t.Fatal(err)
		}
		b, err := New(c.Client(t.Context()), "bucket", Options{Endpoint: "http://127.0.0.1:1"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.List(t.Context(), object.ListOptions{})
		var e *object.Error
		if !errors.As(err, &e) || e.Temporary || !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "keys create") || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s, with a client of the program: got %v", name, err)
		}
	}
}

// The tokens of a service account are in the requests, and in no error.
func TestServiceAccount(t *testing.T) {
	clearEnvironment(t)
	status := http.StatusOK
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		if status == http.StatusOK {
			io.WriteString(w, `{"access_token":"SECRET-token","token_type":"Bearer","expires_in":1}`)
		} else if status == http.StatusForbidden {
			io.WriteString(w, `{"error":"invalid_grant","error_description":"Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim."}`)
		} else {
			io.WriteString(w, `{"error":"invalid_grant","error_description":"Token has been expired or revoked.","access_token":"SECRET-token"}`)
		}
	}))
	defer tokens.Close()
	var seen []string
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusBadRequest)
		io.WriteString(w, "you sent "+strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	}))
	defer service.Close()
	file := serviceAccount(t, tokens.URL)
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
	client, o, err := fromEnvironment(t.Context())
	if err != nil || client == nil {
		t.Fatalf("got the client %v, %v", client, err)
	}
	again, _, err := fromEnvironment(t.Context())
	if err != nil || again != client {
		t.Errorf("another path has another client: %v", err)
	}
	o.Endpoint = service.URL
	b, err := newBucket(client, "bucket", o)
	if err != nil {
		t.Fatal(err)
	}
	b.source = sourceOf(file)
	_, err = b.Stat(t.Context(), "key")
	if err == nil || strings.Contains(err.Error(), "SECRET") || len(seen) != 1 || seen[0] != "Bearer SECRET-token" {
		t.Errorf("got the error %v after the tokens %q", err, seen)
	}

	// The token has expired by now, because it lasts for a second.
	for _, c := range []struct {
		status int
		want   object.Error
		text   string
	}{
		{http.StatusBadRequest, object.Error{Err: fs.ErrPermission}, "invalid_grant Token has been expired or revoked; they have expired or are not valid; run `gcloud auth application-default login`"},
		{http.StatusServiceUnavailable, object.Error{Temporary: true}, "no token"},
		{http.StatusForbidden, object.Error{Err: fs.ErrPermission}, "the clock of this computer is wrong; set it"},
	} {
		status = c.status
		_, err = b.Stat(t.Context(), "key")
		var e *object.Error
		if !strings.Contains(err.Error(), "; the credentials come from the file "+file+" in GOOGLE_APPLICATION_CREDENTIALS") {
			t.Errorf("the error does not name the credentials: %v", err)
		}
		if !errors.As(err, &e) || e.Temporary != c.want.Temporary || !errors.Is(err, c.want.Err) && c.want.Err != nil || !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("without a token: got the error %v", err)
		}
	}
	if len(seen) != 1 {
		t.Errorf("the service got the tokens %q", seen)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, bucket := range []string{"", "x", "Upper", "a/b", "a b", "-a-", "user:password1@host"} {
		if _, err := New(nil, bucket, Options{}); err == nil {
			t.Errorf("the bucket %q got no error", bucket)
		}
	}
	for _, endpoint := range []string{"localhost", "ftp://x", "http://user:password1@x", "http://x/path", "http://x?password1=1", "http://", ":"} {
		if _, err := New(nil, "bucket", Options{Endpoint: endpoint}); err == nil || strings.Contains(err.Error(), "password1") {
			t.Errorf("the endpoint %q got the error %v", endpoint, err)
		}
	}
}
