package azure_test

import (
	"bytes"
	"errors"
	"io/fs"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/cloud/azure"
	"github.com/go-orbax/orbax/storage/cloud/internal/servers"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/training"
)

// variables are the variables of the environment that this package reads, directly or not.
var variables = []string{
	"AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SERVICE_ENDPOINT",
	"AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET",
}

// setenv sets variables, and clears the others that this package reads.
func setenv(t *testing.T, env map[string]string) {
	t.Helper()
	for _, name := range variables {
		t.Setenv(name, env[name])
	}
}

// state is a small state. Its kernel is larger than what a document holds.
func state() map[string]any {
	kernel := make([]float32, 3000)
	for i := range kernel {
		kernel[i] = float32(i) / 7
	}
	return map[string]any{"kernel": array.Of(kernel, 30, 100), "step": 7}
}

func isState(got any) bool {
	m, ok := got.(map[string]any)
	if !ok {
		return false
	}
	kernel, ok := m["kernel"].(*array.Array)
	if !ok {
		return false
	}
	return bytes.Equal(kernel.Bytes(), state()["kernel"].(*array.Array).Bytes())
}

// Checkpoints are saved, loaded, verified and deleted at every form of a URL, with every
// kind of credentials that the emulator has.
func TestURLs(t *testing.T) {
	service, client := newContainer(t, &container.CreateOptions{Access: to.Ptr(container.PublicAccessTypeContainer)})
	name := nameOf(client)
	token := sasOf(t, name, everything, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	account, key := servers.AzureAccount, servers.AzureKey
	for what, c := range map[string]struct {
		url string
		env map[string]string
	}{
		"connection string":                  {"azblob://" + name, map[string]string{"AZURE_STORAGE_CONNECTION_STRING": "DefaultEndpointsProtocol=http;AccountName=" + account + ";AccountKey=" + key + ";BlobEndpoint=" + service + ";"}},
		"connection string with a SAS token": {"azblob://" + name, map[string]string{"AZURE_STORAGE_CONNECTION_STRING": "BlobEndpoint=" + service + "/;SharedAccessSignature=" + token}},
		"key":                                {"azblob://" + name, map[string]string{"AZURE_STORAGE_ACCOUNT": account, "AZURE_STORAGE_KEY": key, "AZURE_STORAGE_SERVICE_ENDPOINT": service}},
		"SAS token":                          {"azblob://" + name, map[string]string{"AZURE_STORAGE_ACCOUNT": account, "AZURE_STORAGE_SAS_TOKEN": "?" + token, "AZURE_STORAGE_SERVICE_ENDPOINT": service}},
		"address":                            {service + "/" + name, map[string]string{"AZURE_STORAGE_ACCOUNT": account, "AZURE_STORAGE_KEY": key}},
		"address with a SAS token":           {service + "/" + name + "?" + token, nil},
	} {
		t.Run(what, func(t *testing.T) {
			setenv(t, c.env)
			address, query, _ := strings.Cut(c.url, "?")
			path := address + "/" + strings.ReplaceAll(what, " ", "%20") + "/step_7"
			if query != "" {
				path += "?" + query
			}
			ctx := t.Context()
			if err := orbax.Save(ctx, path, state()); err != nil {
				t.Fatal(err)
			}
			if err := orbax.Save(ctx, path, state()); !errors.Is(err, orbax.ErrExist) || strings.Contains(err.Error(), "sig=") && !strings.Contains(err.Error(), "sig=xxxxx") {
				t.Errorf("a second Save: %v", err)
			}
			if err := orbax.Save(ctx, path, state(), orbax.Overwrite()); err != nil {
				t.Error(err)
			}
			got, err := orbax.Load(ctx, path)
			if err != nil || !isState(got) {
				t.Errorf("got %v, %v", got, err)
			}
			if err := orbax.Verify(ctx, path); err != nil {
				t.Error(err)
			}
			t.Run("anonymous", func(t *testing.T) {
				setenv(t, nil)
				public := service + "/" + name + "/" + strings.ReplaceAll(what, " ", "%20") + "/step_7"
				if got, err := orbax.Load(ctx, public); err != nil || !isState(got) {
					t.Errorf("got %v, %v", got, err)
				}
				if err := orbax.Save(ctx, public+"x", state()); !errors.Is(err, fs.ErrPermission) {
					t.Errorf("Save without credentials: %v", err)
				}
			})
			noSecrets(t, client, key, token)
			if err := orbax.Delete(ctx, path); err != nil {
				t.Error(err)
			}
			if _, err := orbax.Load(ctx, path); !errors.Is(err, orbax.ErrNotExist) {
				t.Errorf("after Delete: %v", err)
			}
			r, err := client.NewListBlobsFlatPager(nil).NextPage(ctx)
			if err != nil || len(r.Segment.BlobItems) > 0 {
				t.Errorf("%d objects are left, %v", len(r.Segment.BlobItems), err)
			}
		})
	}
}

// noSecrets fails the test if an object of a container has the key, or the signature of the
// token.
func noSecrets(t *testing.T, c *container.Client, key, token string) {
	t.Helper()
	query, err := url.ParseQuery(token)
	if err != nil {
		t.Fatal(err)
	}
	b := azure.New(c)
	page, err := b.List(t.Context(), object.ListOptions{Flat: true})
	if err != nil || len(page.Objects) == 0 {
		t.Fatalf("%d objects, %v", len(page.Objects), err)
	}
	for _, o := range page.Objects {
		text := make([]byte, o.Size)
		if _, _, err := b.Get(t.Context(), o.Key, "", [][]byte{text}, 0); err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{key, query.Get("sig"), url.QueryEscape(query.Get("sig"))} {
			if bytes.Contains(text, []byte(secret)) || strings.Contains(o.Key, secret) {
				t.Errorf("%s has a secret", o.Key)
			}
		}
	}
}

// A path that no store is for is an error that says what to write.
func TestBadURLs(t *testing.T) {
	const secret = "c2VjcmV0c2VjcmV0"
	full := map[string]string{"AZURE_STORAGE_ACCOUNT": "acc", "AZURE_STORAGE_KEY": secret}
	for _, c := range []struct {
		url   string
		env   map[string]string
		class error
		want  string
	}{
		{"azblob://box/a", nil, orbax.ErrUsage, "set AZURE_STORAGE_ACCOUNT"},
		{"azblob://box/a", map[string]string{"AZURE_STORAGE_ACCOUNT": "https://acc?sig=" + secret}, orbax.ErrUsage, "AZURE_STORAGE_ACCOUNT is no name"},
		{"azblob://box/a", map[string]string{"AZURE_STORAGE_ACCOUNT": "acc", "AZURE_STORAGE_SERVICE_ENDPOINT": "https://acc?sig=" + secret}, orbax.ErrUsage, "AZURE_STORAGE_SERVICE_ENDPOINT"},
		{"azblob://box/a", map[string]string{"AZURE_STORAGE_ACCOUNT": "acc", "AZURE_STORAGE_KEY": "!" + secret}, orbax.ErrUsage, "not base64"},
		{"azblob://box/a", map[string]string{"AZURE_STORAGE_CONNECTION_STRING": "AccountKey=" + secret}, orbax.ErrUsage, "neither AccountName nor BlobEndpoint"},
		{"azblob://box/a", map[string]string{"AZURE_STORAGE_CONNECTION_STRING": secret}, orbax.ErrUsage, "no field of it"},
		{"azblob://box/a", map[string]string{"AZURE_STORAGE_CONNECTION_STRING": "AccountName=acc;AcountKey=" + secret}, orbax.ErrUsage, "no field of it"},
		{"azblob://box/a", map[string]string{"AZURE_STORAGE_CONNECTION_STRING": "AccountName=acc,AccountKey=" + secret}, orbax.ErrUsage, "AZURE_STORAGE_CONNECTION_STRING"},
		{"azblob://box/a", map[string]string{"AZURE_STORAGE_CONNECTION_STRING": "AccountName=acc;AccountKey="}, orbax.ErrUsage, "neither AccountKey nor SharedAccessSignature"},
		{"azblob://box/a", map[string]string{"AZURE_STORAGE_CONNECTION_STRING": "AccountName=acc;AccountKey=!" + secret}, orbax.ErrUsage, "not base64"},
		{"azblob://box/../b/a", full, fs.ErrInvalid, "leads out of the bucket"},
		{"azblob:/box/a", full, fs.ErrInvalid, "write azblob://box/a"},
		{"azblob://box/100%", full, fs.ErrInvalid, "write %25"},
		{"azblob://box/a", map[string]string{"AZURE_STORAGE_CONNECTION_STRING": "BlobEndpoint=https://acc.blob.core.windows.net;AccountKey=" + secret}, orbax.ErrUsage, "no AccountName"},
		{"azblob://box/a", map[string]string{"AZURE_STORAGE_CONNECTION_STRING": "BlobEndpoint=:" + secret}, orbax.ErrUsage, "AZURE_STORAGE_CONNECTION_STRING"},
		{"azblob://box/a", map[string]string{"AZURE_STORAGE_CONNECTION_STRING": "UseDevelopmentStorage=true"}, orbax.ErrUsage, "UseDevelopmentStorage"},
		{"azblob://BOX/a", full, orbax.ErrUsage, "no name of a container"},
		{"azblob://x/a", full, orbax.ErrUsage, "no name of a container"},
		{"azblob:///a", full, orbax.ErrUsage, "no name of a container"},
		{"azblob://me:" + secret + "@box/a", full, fs.ErrInvalid, "no user"},
		{"azblob://box/a?version=1", full, fs.ErrInvalid, "no SAS token"},
		{"azblob://box/a#b", full, fs.ErrInvalid, "fragment"},
		{"https://example.com/box/a?sig=" + secret, full, orbax.ErrUnsupported, "other web addresses cannot be read"},
		{"https://acc.dfs.core.windows.net/box/a", full, orbax.ErrUnsupported, "https://ACCOUNT.blob.core.windows.net/container/path"},
		{"https://blob.core.windows.net/box/a", full, orbax.ErrUnsupported, ""},
		{"https://evil.com/.blob.core.windows.net/box/a", full, orbax.ErrUnsupported, ""},
		{"http://acc.blob.core.windows.net/box/a", full, orbax.ErrUnsupported, ""},
		{"http://10.0.0.1:10000/acc/box/a", full, orbax.ErrUnsupported, "127.0.0.1:10000"},
		{"https://acc.blob.core.windows.net", full, orbax.ErrUsage, "no name of a container"},
		{"http://127.0.0.1:10000/acc", full, orbax.ErrUsage, "no name of a container"},
		{"https://u:" + secret + "@acc.blob.core.windows.net/box/a", full, fs.ErrInvalid, "no user"},
	} {
		setenv(t, c.env)
		_, err := storage.Resolve(t.Context(), c.url)
		if !errors.Is(err, c.class) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s with %v: got %v; want %v with %q", c.url, c.env, err, c.class, c.want)
		}
	}
}

// The name in the store is the path of the URL, without what leads out of the container.
func TestNames(t *testing.T) {
	setenv(t, map[string]string{"AZURE_STORAGE_ACCOUNT": "acc", "AZURE_STORAGE_KEY": "c2VjcmV0"})
	for path, want := range map[string]string{
		"azblob://box":                                ".",
		"azblob://box/":                               ".",
		"azblob://box/run/step_1":                     "run/step_1",
		"azblob://box//run/../a%20b/":                 "a b",
		"azblob://$web/a":                             "a",
		"https://acc.blob.core.windows.net/box/run/1": "run/1",
		"https://acc.z01.blob.storage.azure.net/box/run/1?sig=x": "run/1",
		"HTTPS://ACC.blob.core.windows.net/box/run/1":            "run/1",
		"http://localhost:10000/acc/box/run/1":                   "run/1",
		"http://[::1]:10000/acc/box":                             ".",
	} {
		l, err := storage.Resolve(t.Context(), path)
		if want == "" {
			if err == nil {
				t.Errorf("%s is %q", path, l.Name)
			}
			continue
		}
		if err != nil || l.Name != want {
			t.Errorf("%s is %q, %v; want %q", path, l.Name, err, want)
		}
	}
}

// An error of credentials says where they come from, and what the request needs.
func TestWhereCredentialsComeFrom(t *testing.T) {
	service, client := newContainer(t, nil)
	name, account := nameOf(client), servers.AzureAccount
	const wrong = "c3RyYW5nZXI="
	token := sasOf(t, name, sas.ContainerPermissions{Read: true}, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	for _, c := range []struct {
		url  string
		env  map[string]string
		want string
	}{
		{"azblob://" + name, map[string]string{"AZURE_STORAGE_ACCOUNT": account, "AZURE_STORAGE_KEY": wrong, "AZURE_STORAGE_SERVICE_ENDPOINT": service}, "AZURE_STORAGE_KEY"},
		{"azblob://" + name, map[string]string{"AZURE_STORAGE_ACCOUNT": account, "AZURE_STORAGE_SAS_TOKEN": token, "AZURE_STORAGE_SERVICE_ENDPOINT": service}, "AZURE_STORAGE_SAS_TOKEN"},
		{"azblob://" + name, map[string]string{"AZURE_STORAGE_CONNECTION_STRING": "AccountName=" + account + ";AccountKey=" + wrong + ";BlobEndpoint=" + service}, "AZURE_STORAGE_CONNECTION_STRING"},
		{service + "/" + name + "/?" + token, nil, "the SAS token in the URL"},
	} {
		setenv(t, c.env)
		at, err := storage.Resolve(t.Context(), c.url)
		if err != nil {
			t.Fatal(err)
		}
		_, err = at.List(t.Context())
		if !errors.Is(err, fs.ErrPermission) || !strings.HasSuffix(strings.TrimSuffix(err.Error(), ": permission denied"), "; the credentials come from "+c.want) ||
			!strings.Contains(err.Error(), "this request (list) needs Storage Blob Data Reader, or l") || strings.Contains(err.Error(), wrong) {
			t.Errorf("%s: got %v", c.want, err)
		}
	}
}

// One store serves all URLs of a container with the same credentials, in all their forms.
func TestOneStore(t *testing.T) {
	store := func(text string) storage.Store {
		t.Helper()
		l, err := storage.Resolve(t.Context(), text)
		if err != nil {
			t.Fatal(err)
		}
		return l.Store
	}
	env := map[string]string{"AZURE_STORAGE_ACCOUNT": "acc", "AZURE_STORAGE_KEY": "c2VjcmV0"}
	setenv(t, env)
	a := store("azblob://box/run")
	for _, text := range []string{"azblob://box/other/", "azblob://box", "https://acc.blob.core.windows.net/box/run", "https://ACC.blob.core.windows.net/box//run/"} {
		if store(text) != a {
			t.Errorf("%s has a store of its own", text)
		}
	}
	for _, text := range []string{"azblob://box2/run", "https://acc.blob.core.windows.net/box/run?sig=x", "http://127.0.0.1:10000/acc/box/run"} {
		if store(text) == a {
			t.Errorf("%s has the store of another container, or of other credentials", text)
		}
	}
	mirror := training.Options{Mirror: training.Mirror{Root: "https://acc.blob.core.windows.net/box/run"}}
	if _, err := training.New(t.Context(), "azblob://box/run", mirror); !errors.Is(err, orbax.ErrUsage) || !strings.Contains(err.Error(), "one directory") {
		t.Errorf("a run that is its own mirror: %v", err)
	}
	env["AZURE_STORAGE_KEY"] = "YW5vdGhlcg=="
	setenv(t, env)
	if store("azblob://box/run") == a {
		t.Error("two keys have one store")
	}
}
