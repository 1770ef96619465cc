package s3_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/cloud/internal/servers"
	"github.com/go-orbax/orbax/storage/cloud/s3"
	"github.com/go-orbax/orbax/training"
)

// environment sets the environment for the test server and returns the URL of a new bucket.
func environment(t *testing.T) string {
	t.Helper()
	_, name := newBucket(t)
	isolate(t)
	t.Setenv("AWS_ENDPOINT_URL", "http://"+servers.S3.Shared(t))
	t.Setenv("AWS_ACCESS_KEY_ID", servers.S3Key)
	t.Setenv("AWS_SECRET_ACCESS_KEY", servers.S3Secret)
	return "s3://" + name
}

// isolate keeps the configuration of the machine from the test.
func isolate(t *testing.T) {
	t.Helper()
	for _, name := range []string{"AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL_S3",
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"} {
		t.Setenv(name, "") // restores it after the test
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", "/nonexistent/config")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials")
}

type state struct {
	Params map[string]*array.Array `orbax:"params"`
	Step   int                     `orbax:"step"`
}

// newState returns a state of some MiB.
func newState(step int) state {
	w := make([]float32, 3<<20)
	for i := range w {
		w[i] = float32(i + step)
	}
	return state{Params: map[string]*array.Array{"w": array.Of(w, 3, 1<<20), "b": array.Of([]float32{1, 2, float32(step)}, 3)}, Step: step}
}

// Save, Load, Verify and Delete work with URLs.
func TestCheckpoint(t *testing.T) {
	ctx := t.Context()
	path := environment(t) + "/runs/a b+c%25/1"
	for _, step := range []int{1, 2} {
		var options []orbax.SaveOption
		if step == 2 {
			if err := orbax.Save(ctx, path, newState(9)); !errors.Is(err, fs.ErrExist) {
				t.Fatalf("second Save: got the error %v, want %v", err, fs.ErrExist)
			}
			options = append(options, orbax.Overwrite())
		}
		want := newState(step)
		if err := orbax.Save(ctx, path, want, options...); err != nil {
			t.Fatal(err)
		}
		got, err := orbax.LoadAs[state](ctx, path)
		if err != nil {
			t.Fatal(err)
		}
		if got.Step != want.Step || !slices.Equal(got.Params["w"].Bytes(), want.Params["w"].Bytes()) || !slices.Equal(got.Params["b"].Bytes(), want.Params["b"].Bytes()) {
			t.Errorf("step %d: the loaded state differs", step)
		}
		c, err := orbax.Open(ctx, path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(c.Verify(ctx), c.Close()); err != nil {
			t.Error(err)
		}
	}
	if err := orbax.Delete(ctx, path); err != nil {
		t.Fatal(err)
	}
	c, bucket := client(servers.S3.Shared(t)), strings.TrimPrefix(strings.TrimSuffix(path, "/runs/a b+c%25/1"), "s3://")
	for _, left := range everything(t, c, bucket) {
		t.Errorf("Delete has left %s", left)
	}
	if _, err := orbax.LoadAs[state](ctx, path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load after Delete: got the error %v, want %v", err, fs.ErrNotExist)
	}
}

// A URL is a bucket, a path, and choices about the client.
func TestURLs(t *testing.T) {
	for text, want := range map[string][2]string{
		"s3://bucket":                              {"bucket", "."},
		"s3://bucket/":                             {"bucket", "."},
		"s3://my.bucket_1/runs/1":                  {"my.bucket_1", "runs/1"},
		"s3://bucket//runs/./x/../1/":              {"bucket", "runs/1"},
		"s3://bucket/a%20b+c%25/%E5%90%8D%3F":      {"bucket", "a b+c%/名?"},
		"s3://bucket/a?anonymous=true":             {"bucket", "a"},
		"s3://bucket/a?region=eu-west-1&profile=p": {"bucket", "a"},
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		bucket, name, err := s3.Parse(u)
		if err != nil || bucket != want[0] || name != want[1] {
			t.Errorf("%s: got %q, %q, %v; want %q", text, bucket, name, err, want)
		}
	}
	for text, says := range map[string]string{
		"s3:/bucket/runs/1":                   "write s3://bucket/runs/1",
		"s3://bucket/../x":                    "leads out of the bucket",
		"s3://bucket:/x":                      "has the form s3://bucket/path",
		"s3://bucket/100%":                    "write %25",
		"s3:///runs/1":                        "has the form s3://bucket/path",
		"s3://bucket:80/x":                    "AWS_ENDPOINT_URL",
		"s3://" + secretID + "@bucket/x":      "has no user",
		"s3://bucket/x#1":                     "%23",
		"s3://bucket/x?y=" + secretID:         "anonymous, region and profile",
		"s3://bucket/x?anonymous=" + secretID: "?anonymous=true",
	} {
		_, err := orbax.Open(t.Context(), text)
		if !errors.Is(err, fs.ErrInvalid) || !strings.Contains(fmt.Sprint(err), says) {
			t.Errorf("%s: got the error %v, want one with %q", text, err, says)
		}
		clean(t, text, fmt.Sprint(err))
	}
}

// seen is a request that a server has got.
type seen struct{ host, path, authorization string }

// watch starts a service without objects, and returns its address and what it has seen.
func watch(t *testing.T) (addr string, requests func() []seen) {
	t.Helper()
	var mu sync.Mutex
	var all []seen
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, seen{r.Host, r.URL.Path, r.Header.Get("Authorization")})
		refuse(w, http.StatusForbidden, "AccessDenied", "Access Denied")
	}))
	t.Cleanup(server.Close)
	return server.URL, func() []seen {
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

// The environment and the query choose the service, the region and the credentials.
func TestEnvironment(t *testing.T) {
	addr, requests := watch(t)
	isolate(t)
	config := filepath.Join(t.TempDir(), "config")
	text := "[profile first]\nregion=eu-north-1\naws_access_key_id=FIRSTID\naws_secret_access_key=secret1\n" +
		"[profile second]\nregion=us-west-2\naws_access_key_id=SECONDID\naws_secret_access_key=secret2\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CONFIG_FILE", config)
	for i, c := range []struct {
		environment map[string]string
		query       string
		signed      string // "" is not at all
		says        string
	}{
		{map[string]string{"AWS_ACCESS_KEY_ID": "ENVID", "AWS_SECRET_ACCESS_KEY": "secret0"}, "", "Credential=ENVID/", "do not permit s3:ListBucket"},
		{map[string]string{"AWS_ACCESS_KEY_ID": "ENVID", "AWS_SECRET_ACCESS_KEY": "secret0"}, "", "Credential=ENVID/", "; the credentials come from the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"},
		{map[string]string{"AWS_ACCESS_KEY_ID": "ENVID", "AWS_SECRET_ACCESS_KEY": "secret0"}, "", "/us-east-1/s3/", ""},
		{map[string]string{"AWS_ACCESS_KEY_ID": "ENVID", "AWS_SECRET_ACCESS_KEY": "secret0", "AWS_REGION": "eu-south-1"}, "", "/eu-south-1/s3/", ""},
		{map[string]string{"AWS_ACCESS_KEY_ID": "ENVID", "AWS_SECRET_ACCESS_KEY": "secret0", "AWS_REGION": "eu-south-1"}, "?region=eu-west-2", "/eu-west-2/s3/", ""},
		{map[string]string{"AWS_PROFILE": "first"}, "", "Credential=FIRSTID/", "; the credentials come from the file " + config},
		{map[string]string{"AWS_PROFILE": "first"}, "", "/eu-north-1/s3/", ""},
		{map[string]string{"AWS_PROFILE": "first"}, "?profile=second", "Credential=SECONDID/", ""},
		{map[string]string{"AWS_ACCESS_KEY_ID": "ENVID", "AWS_SECRET_ACCESS_KEY": "secret0"}, "?anonymous=true", "", "anonymous access does not permit s3:ListBucket"},
		{nil, "?anonymous=true", "", "anonymous access does not permit"},
	} {
		for _, variable := range []string{"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"} {
			t.Run(fmt.Sprint(i, variable), func(t *testing.T) {
				t.Setenv(variable, addr)
				for name, value := range c.environment {
					t.Setenv(name, value)
				}
				before := len(requests())
				bucket := strings.ToLower(fmt.Sprintf("watched-%d-%d", i, len(variable)))
				_, err := orbax.Open(t.Context(), "s3://"+bucket+"/run"+c.query)
				if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), c.says) {
					t.Errorf("got the error %v, want one with %q", err, c.says)
				}
				got := requests()[before:]
				if len(got) == 0 {
					t.Fatal("no request came to the service")
				}
				for _, r := range got {
					if !strings.HasPrefix(r.path, "/"+bucket) || !strings.Contains(r.authorization, c.signed) || (r.authorization == "") != (c.signed == "") {
						t.Errorf("the request is %+v, want one to /%s with %q", r, bucket, c.signed)
					}
				}
			})
		}
	}
	t.Setenv("AWS_ENDPOINT_URL", addr)
	before := len(requests())
	if _, err := orbax.Open(t.Context(), "s3://nobody/run"); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "there are no credentials") {
		t.Errorf("without credentials: got the error %v", err)
	}
	if n := len(requests()) - before; n > 0 {
		t.Errorf("%d requests were made without credentials", n)
	}
	if _, err := orbax.Open(t.Context(), "s3://nobody/run?profile=third"); !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), `the profile "third"`) {
		t.Errorf("a profile that is missing: got the error %v", err)
	}
}

// One store serves all URLs of a bucket and a query, as long as they lead to the same service.
func TestOneStore(t *testing.T) {
	isolate(t)
	store := func(text string) storage.Store {
		t.Helper()
		l, err := storage.Resolve(t.Context(), text)
		if err != nil {
			t.Fatal(err)
		}
		return l.Store
	}
	a := store("s3://one-store/a?anonymous=true")
	if store("s3://one-store/b?anonymous=true") != a {
		t.Error("two URLs of one bucket have two stores")
	}
	if store("s3://one-store/a") == a || store("s3://one-store-2/a?anonymous=true") == a {
		t.Error("URLs of two clients have one store")
	}
	t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
	if store("s3://one-store/a?anonymous=true") == a {
		t.Error("two services have one store")
	}
}

// A run saves its steps in a bucket, keeps the newest ones, and goes on from there.
func TestRun(t *testing.T) {
	root := environment(t) + "/run"
	run := func() *training.Checkpointer {
		t.Helper()
		c, err := training.New(t.Context(), root, training.Options{Preservation: training.LatestN{N: 2}})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := run()
	for step := range 4 {
		if saved, err := first.Save(t.Context(), step, newState(step)); err != nil || !saved {
			t.Fatalf("step %d: saved %t, %v", step, saved, err)
		}
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := run()
	var got state
	step, err := second.Resume(t.Context(), &got)
	if err != nil || step != 3 || got.Step != 3 || !slices.Equal(got.Params["w"].Bytes(), newState(3).Params["w"].Bytes()) {
		t.Errorf("resumed step %d of state %d, %v; want step 3", step, got.Step, err)
	}
	var steps []int
	for _, s := range second.Checkpoints() {
		steps = append(steps, s.Step)
	}
	if !slices.Equal(steps, []int{2, 3}) {
		t.Errorf("the steps are %v, want 2 and 3", steps)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}

// A role that may not be assumed is an error of the credentials, and not of the bucket.
func TestRoleThatIsRefused(t *testing.T) {
	isolate(t)
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/xml")
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>Not authorized to perform sts:AssumeRoleWithWebIdentity</Message></Error></ErrorResponse>`)
	}))
	defer tokens.Close()
	addr, requests := watch(t)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("a.b.c"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/trainer", "AWS_WEB_IDENTITY_TOKEN_FILE": file, "AWS_REGION": "us-east-1",
		"AWS_ENDPOINT_URL_STS": tokens.URL, "AWS_ENDPOINT_URL_S3": addr,
	} {
		t.Setenv(name, value)
	}
	_, err := orbax.Open(t.Context(), "s3://refused-role/run")
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "the service that gives credentials refuses: AccessDenied; check the role of AWS_PROFILE or of AWS_ROLE_ARN") || strings.Contains(err.Error(), "s3:ListBucket") {
		t.Errorf("got %v", err)
	}
	if n := len(requests()); n > 0 {
		t.Errorf("%d requests were made without credentials", n)
	}
}
