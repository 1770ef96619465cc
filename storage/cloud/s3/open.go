package s3

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/cloud/internal/answers"
	"github.com/go-orbax/orbax/storage/cloud/internal/connections"
	"github.com/go-orbax/orbax/storage/cloud/internal/opened"
	"github.com/go-orbax/orbax/storage/object"
)

func init() { storage.Register("s3", open) }

// stores are the stores of the URLs that have been opened.
var stores opened.Stores[way]

// way is a bucket and the way to it.
type way struct {
	bucket string
	choices
	environment [sha256.Size]byte
}

// open implements [storage.OpenFunc].
func open(ctx context.Context, u *url.URL) (storage.Store, string, error) {
	bucket, name, c, err := parse(u)
	if err != nil {
		return nil, "", err
	}
	store, err := stores.Get(way{bucket, c, environment()}, func() (object.Bucket, error) {
		client, err := newClient(ctx, c)
		if err != nil {
			return nil, fmt.Errorf("s3://%s: %w", bucket, err)
		}
		return New(client, bucket), nil
	})
	if err != nil {
		return nil, "", err
	}
	return store, name, nil
}

// environment returns a digest of the variables that Amazon's programs know.
func environment() [sha256.Size]byte {
	known := slices.DeleteFunc(os.Environ(), func(variable string) bool { return !strings.HasPrefix(variable, "AWS_") })
	slices.Sort(known)
	return sha256.Sum256([]byte(strings.Join(known, "\x00")))
}

// choices are what the query of a URL says about a client.
type choices struct {
	anonymous       bool
	region, profile string
}

// bucketName matches what may be the name of a bucket, in Amazon's service and in others.
var bucketName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$`)

// parse returns what a URL says: the bucket, the name in its store, and the client.
func parse(u *url.URL) (bucket, name string, c choices, err error) {
	invalid := func(text string, args ...any) (string, string, choices, error) {
		return "", "", choices{}, fmt.Errorf("%w: an s3 URL %s", fs.ErrInvalid, fmt.Sprintf(text, args...))
	}
	switch {
	case u.User != nil:
		return invalid("has no user; credentials come from the environment, such as AWS_PROFILE")
	case !bucketName.MatchString(u.Host):
		return invalid("has the form s3://bucket/path, with letters, digits, hyphens, underscores and dots in the bucket; AWS_ENDPOINT_URL names another service than Amazon's")
	case u.Fragment != "":
		return invalid("has no fragment; in a path write %%23 for #")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return invalid("has a query that cannot be read; in a path write %%3F for ?")
	}
	for _, key := range slices.Sorted(maps.Keys(query)) {
		value := query.Get(key)
		switch key {
		case "anonymous":
			if c.anonymous, err = strconv.ParseBool(value); err != nil {
				return invalid("may end with ?anonymous=true")
			}
		case "region":
			c.region = value
		case "profile":
			c.profile = value
		default:
			return invalid("may have the queries anonymous, region and profile, and not %q; in a path write %%3F for ?", key)
		}
	}
	name, err = object.NameIn(u.Path)
	return u.Host, name, c, err
}

// newClient returns a client of the service that the environment names.
func newClient(ctx context.Context, c choices) (*s3.Client, error) {
	options := []func(*config.LoadOptions) error{
		// As many connections stay open as a save or a load of several checkpointables uses.
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
			t.MaxIdleConns, t.MaxIdleConnsPerHost = 256, 128
			t.WriteBufferSize = 64 << 10
			t.DialContext = answers.Noting(t.DialContext)
		})),
	}
	if c.profile != "" {
		options = append(options, config.WithSharedConfigProfile(c.profile))
	}
	if c.region != "" {
		options = append(options, config.WithRegion(c.region))
	}
	if c.anonymous {
		options = append(options, config.WithCredentialsProvider(aws.AnonymousCredentials{}))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	var profile config.SharedConfigProfileNotExistError
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.As(err, &profile):
		return nil, fmt.Errorf("%w: the profile %q is not in the configuration of AWS; check AWS_PROFILE and ~/.aws/config", fs.ErrInvalid, profile.Profile)
	case err != nil:
		return nil, fmt.Errorf("%w: the configuration of AWS cannot be used; check ~/.aws/config and the variables AWS_…: %s", fs.ErrInvalid, withoutEnvironment(err.Error()))
	}
	if b, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok { // with the certificates of the configuration
		cfg.HTTPClient = b.WithTransportOptions(connections.Reuse)
	}
	client := s3.NewFromConfig(cfg, func(o *s3.Options) {
		if o.BaseEndpoint != nil {
			o.UsePathStyle = true
		}
		// Amazon's answer to a request in the wrong region names the right one.
		o.Region = cmp.Or(o.Region, "us-east-1")
	})
	return client, nil
}

// withoutEnvironment returns a text without the credentials of the environment.
func withoutEnvironment(text string) string {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} {
		if secret := os.Getenv(name); secret != "" {
			text = strings.ReplaceAll(text, secret, "xxxxx")
		}
	}
	return fault.Redacted(oneLine(text))
}
