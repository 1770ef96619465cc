package s3

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage/object"
)

// failed returns the error of a request.
func (b *bucket) failed(ctx context.Context, op, key string, err error) error {
	if cerr := ctx.Err(); cerr != nil {
		return fmt.Errorf("%s %s: %w", op, key, cerr)
	}
	if strings.Contains(err.Error(), "get identity: ") { // no request was made
		return noCredentials(op, key, err)
	}
	var sent *smithyhttp.RequestSendError
	if errors.As(err, &sent) {
		return unreachable(op, key, err)
	}
	if a := answerOf(err); a.status != 0 || a.code != "" {
		return b.answer(ctx, op, key, a)
	}
	return unreachable(op, key, err)
}

// refused returns the error of a write with conditions.
func (b *bucket) refused(ctx context.Context, op, key string, o object.PutOptions, err error) error {
	err = b.failed(ctx, op, key, err)
	var e *object.Error
	switch {
	case !errors.As(err, &e):
	case o.IfVersion != "" && e.Status == http.StatusNotFound && e.Code != "NoSuchBucket" && e.Code != "NoSuchUpload":
		e.Message, e.Err = "", object.ErrPrecondition // the object is missing
	case op == "complete" && e.Code == "ConditionalRequestConflict":
		e.Temporary, e.Err = false, object.ErrPrecondition // this upload cannot be completed any more
	case e.Status == http.StatusNotImplemented && (o.IfVersion != "" || o.IfAbsent):
		e.Message, e.Err = "the service cannot write under conditions, which saves need", fault.ErrUnsupported
	}
	return err
}

// answer is the answer of a service to a request that has failed.
type answer struct {
	status int
	code   string
	text   string
	region string        // of the bucket
	after  time.Duration // of Retry-After
}

// answerOf returns the answer that err describes. Its text has none of the credentials
// that the request had.
func answerOf(err error) (a answer) {
	var api smithy.APIError
	if errors.As(err, &api) {
		a.code, a.text = api.ErrorCode(), api.ErrorMessage()
	}
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) && response.Response != nil && response.Response.Response != nil {
		r := response.Response.Response
		a.status = r.StatusCode
		a.region = r.Header.Get("X-Amz-Bucket-Region")
		if s, err := strconv.Atoi(r.Header.Get("Retry-After")); err == nil && s > 0 {
			a.after = time.Duration(min(s, 3600)) * time.Second
		}
		if r.Request != nil {
			a.code, a.text = withoutSecrets(a.code, r.Request.Header), withoutSecrets(a.text, r.Request.Header)
		}
	}
	a.text = strings.TrimRight(fault.Redacted(oneLine(a.text)), ".")
	a.code = oneLine(a.code)
	return a
}

// oneLine returns a text of a service in one line of a sensible length.
func oneLine(text string) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " ")
	if len(text) > 300 {
		text = strings.ToValidUTF8(text[:300], "") + "…"
	}
	return text
}

// shortest is the length from which on the name of a key is left out of texts. A shorter one,
// as a server for tests may have, is no secret, and may be in every word.
const shortest = 8

// withoutSecrets returns a text without what the headers of a request authorize it with:
// the name of the key, the signature, the token. The secret itself is never sent.
func withoutSecrets(text string, h http.Header) string {
	secrets := []string{h.Get("Authorization"), h.Get("X-Amz-Security-Token")}
	for field := range strings.FieldsFuncSeq(h.Get("Authorization"), func(r rune) bool { return r == ' ' || r == ',' }) {
		switch name, value, _ := strings.Cut(field, "="); name {
		case "Credential":
			id, _, _ := strings.Cut(value, "/")
			secrets = append(secrets, value, id)
		case "Signature":
			secrets = append(secrets, value)
		}
	}
	for _, s := range secrets {
		if len(s) >= shortest {
			text = strings.ReplaceAll(text, s, "xxxxx")
			text = strings.ReplaceAll(text, url.QueryEscape(s), "xxxxx")
		}
	}
	return text
}

// permissions are what the operations need.
var permissions = map[string]string{
	"get": "s3:GetObject", "stat": "s3:GetObject", "list": "s3:ListBucket", "put": "s3:PutObject", "upload": "s3:PutObject", "part": "s3:PutObject",
	"complete": "s3:PutObject", "abort": "s3:AbortMultipartUpload", "uploads": "s3:ListBucketMultipartUploads",
	"copy": "s3:GetObject and s3:PutObject", "delete": "s3:DeleteObject",
}

// answer returns the error for an answer of the service.
func (b *bucket) answer(ctx context.Context, op, key string, a answer) error {
	e := &object.Error{Op: op, Key: key, Status: a.status, Code: a.code, Message: a.text, After: a.after}
	switch a.code {
	case "NoSuchKey", "NoSuchUpload":
		e.Message, e.Err = "", fs.ErrNotExist
	case "NoSuchBucket":
		e.Message = b.noBucket()
	case "PreconditionFailed":
		e.Message, e.Err = "", object.ErrPrecondition
	case "ConditionalRequestConflict", "OperationAborted":
		e.Temporary, e.Message = true, "another writer is at work on the object at this moment"
	case "SlowDown", "TooManyRequests", "RequestLimitExceeded", "Throttling", "ThrottlingException", "ServiceUnavailable", "BandwidthLimitExceeded":
		e.Temporary, e.Throttled = true, true
	case "BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch", "IncompleteBody", "RequestTimeout", "InternalError", "MalformedXML":
		e.Temporary = true // XML that the client has made is only bad when it was damaged on its way
	case "RequestTimeTooSkewed", "RequestInTheFuture", "RequestExpired":
		// The client corrects its time by that of the answer.
		e.Temporary, e.Message = true, "the clock of this machine differs from that of the service; set it"
	case "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired":
		e.Message, e.Err = "the credentials have expired; renew them, for example with aws sso login"+b.from(ctx), fs.ErrPermission
	case "InvalidAccessKeyId", "XAdminUserNotFound", "InvalidToken", "InvalidClientTokenId", "UnrecognizedClientException", "InvalidSecurity":
		e.Message, e.Err = "the service does not know the credentials; check AWS_ACCESS_KEY_ID, AWS_SESSION_TOKEN or AWS_PROFILE, and AWS_ENDPOINT_URL"+b.from(ctx), fs.ErrPermission
	case "SignatureDoesNotMatch":
		e.Message, e.Err = "the secret does not belong to the access key; check AWS_SECRET_ACCESS_KEY or AWS_PROFILE"+b.from(ctx), fs.ErrPermission
	case "AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect", "MovedPermanently", "IllegalLocationConstraintException":
		e.Message = wrongRegion(a)
	case "AccessDenied", "AllAccessDisabled", "AccountProblem", "InvalidPayer":
		b.denied(ctx, e)
	default:
		b.byStatus(ctx, e, a)
	}
	if fitsAny(op) && e.Err == fs.ErrNotExist {
		e.Message, e.Err = b.noBucket(), nil
	}
	return e
}

// noBucket is the message about a bucket that does not exist.
func (b *bucket) noBucket() string {
	return fmt.Sprintf("there is no bucket %q; check its name, AWS_REGION and AWS_ENDPOINT_URL, or make it with `aws s3 mb s3://%s`", b.name, b.name)
}

// fitsAny reports whether an operation fits any key, whether there is an object or not. If
// such a one finds nothing, there is no bucket.
func fitsAny(op string) bool { return op == "list" || op == "uploads" || op == "put" || op == "upload" }

// byStatus completes an error by its status. The answer to a HEAD has nothing else.
func (b *bucket) byStatus(ctx context.Context, e *object.Error, a answer) {
	switch status := a.status; {
	case status == 0: // of one object in a batch, with a code that is not known here
	case status == http.StatusNotFound && (a.code == "" || a.code == "NotFound"):
		e.Err = fs.ErrNotExist
	case status == http.StatusNotFound: // of something else, such as the owner of the credentials
		e.Message = cmp.Or(e.Message, "the service does not find what the request names") + "; check the name of the bucket, the credentials and AWS_ENDPOINT_URL" + b.from(ctx)
	case status == http.StatusPreconditionFailed:
		e.Err = object.ErrPrecondition
	case status == http.StatusForbidden && (a.code == "" || a.code == "Forbidden"):
		b.denied(ctx, e)
	case status == http.StatusUnauthorized:
		e.Message, e.Err = cmp.Or(e.Message, "the service wants other credentials")+b.from(ctx), fs.ErrPermission
	case status == http.StatusMovedPermanently || status == http.StatusTemporaryRedirect || status == http.StatusBadRequest && a.region != "":
		e.Message = wrongRegion(a)
	case status == http.StatusBadRequest && a.code == "" && e.Message == "":
		e.Message = "the service does not say why; the credentials may have expired, the bucket may be in another region, or AWS_ENDPOINT_URL must begin with https://"
	case status < 300:
		e.Temporary, e.Message = true, "the answer was cut short or damaged on its way"
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
		e.Temporary, e.Throttled = true, true
	case status == http.StatusRequestTimeout || status >= 500 && status != http.StatusNotImplemented:
		e.Temporary = true
	}
}

// denied completes the error of a request that is not permitted.
func (b *bucket) denied(ctx context.Context, e *object.Error) {
	e.Err = fs.ErrPermission
	who := "the credentials do not permit"
	if b.anonymous() {
		who = "anonymous access does not permit"
	}
	text := fmt.Sprintf("%s %s on s3://%s", who, permissions[e.Op], b.name)
	if e.Op == "get" || e.Op == "stat" || e.Op == "copy" {
		text += ", or the object is missing and they do not permit s3:ListBucket"
	}
	if e.Message != "" && !strings.EqualFold(e.Message, "access denied") {
		text += " (" + e.Message + ")"
	}
	e.Message = text + b.from(ctx)
}

// wrongRegion returns the message about a request that went to another region.
func wrongRegion(a answer) string {
	region := a.region
	if _, rest, ok := strings.Cut(a.text, "expecting '"); ok && region == "" {
		region, _, _ = strings.Cut(rest, "'")
	}
	if region == "" {
		return "the bucket is in another region or at another endpoint; set AWS_REGION or AWS_ENDPOINT_URL"
	}
	return fmt.Sprintf("the bucket is in the region %s; set AWS_REGION=%[1]s, or end the URL with ?region=%[1]s", region)
}
