package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage/cloud/internal/answers"
	"github.com/go-orbax/orbax/storage/object"
)

// anonymous reports whether requests have no credentials.
func (b *bucket) anonymous() bool {
	c := b.client.Options().Credentials
	return c == nil || aws.IsCredentialsProvider(c, aws.AnonymousCredentials{})
}

// sources say where credentials come from, by the names that the client of Amazon has for
// that.
var sources = map[string]string{
	"EnvConfigCredentials":        "the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
	"StaticCredentials":           "the program itself",
	"EC2RoleProvider":             "the role of this machine",
	"CredentialsEndpointProvider": "the role of this container",
	"AssumeRoleProvider":          "a role that the profile assumes",
	"WebIdentityCredentials":      "the web identity in AWS_WEB_IDENTITY_TOKEN_FILE",
	"ProcessProvider":             "the credential_process of the profile",
	"SSOProvider":                 "the single sign-on of the profile",
}

// from says where the credentials of requests come from, as the end of a message.
func (b *bucket) from(ctx context.Context) string {
	if b.anonymous() {
		return ""
	}
	c, err := b.client.Options().Credentials.Retrieve(ctx) // kept from the request that has failed
	if err != nil || c.Source == "" {
		return ""
	}
	where := sources[c.Source]
	if file, ok := strings.CutPrefix(c.Source, "SharedConfigCredentials: "); ok {
		where = "the file " + file
	} else if where == "" {
		where = c.Source
	}
	return "; the credentials come from " + fault.Redacted(oneLine(where))
}

// noCredentials returns the error of a request that could not be signed. The text of err
// is left out: what makes credentials may say anything.
func noCredentials(op, key string, err error) error {
	e := &object.Error{Op: op, Key: key, Err: fs.ErrPermission}
	a := answerOf(err)
	var sent *smithyhttp.RequestSendError
	switch {
	case a.status >= 500 || a.status == http.StatusTooManyRequests:
		e.Temporary, e.Err = true, nil
		e.Message = "the service that gives credentials is busy"
	case errors.As(err, &sent) && answers.Lasting(sent) == "":
		e.Temporary, e.Err = true, nil
		e.Message = "the service that gives credentials does not answer"
	case a.code != "":
		e.Message = "the service that gives credentials refuses: " + a.code + "; check the role of AWS_PROFILE or of AWS_ROLE_ARN, and who may assume it"
	case strings.Contains(strings.ToLower(err.Error()), "sso"):
		e.Message = "the session of the single sign-on has expired; run aws sso login"
	default:
		e.Message = "there are no credentials; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role; a public bucket needs ?anonymous=true at the end of its URL"
	}
	return e
}

// unreachable returns the error of a request without an answer. Most of these pass.
func unreachable(op, key string, err error) error {
	var inURL *url.Error
	if errors.As(err, &inURL) { // which has the whole URL
		err = inURL.Err
	}
	e := &object.Error{Op: op, Key: key, Err: err}
	var name *net.DNSError
	var network net.Error
	var params smithy.InvalidParamsError
	switch lasting := answers.Lasting(err); {
	case strings.HasPrefix(lasting, "there is no host"):
		e.Message = lasting + "; check the name of the bucket, AWS_REGION and AWS_ENDPOINT_URL"
	case strings.HasPrefix(lasting, "the certificate"):
		e.Message = lasting + "; AWS_CA_BUNDLE names the file of another authority"
	case lasting != "":
		e.Message, e.Err = lasting+"; check AWS_ENDPOINT_URL", nil
	case errors.As(err, &name):
		e.Temporary = true
		e.Message = "the address of the service cannot be looked up; check the name of the bucket, AWS_REGION and AWS_ENDPOINT_URL"
	case errors.As(err, &network), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		e.Temporary = true
		e.Message = "the connection failed"
	case errors.As(err, &params):
	default: // its text may have what the service has sent
		var sent *smithyhttp.RequestSendError
		var answer *smithy.DeserializationError
		e.Temporary, e.Err = inURL != nil || errors.As(err, &sent) || errors.As(err, &answer), nil
		e.Message = fmt.Sprintf("the service sends no answer that can be read (%T); check AWS_ENDPOINT_URL", innermost(err))
	}
	return e
}

// innermost returns the error that others wrap.
func innermost(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}
