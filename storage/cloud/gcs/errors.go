package gcs

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"golang.org/x/oauth2"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage/cloud/internal/answers"
	"github.com/go-orbax/orbax/storage/object"
)

// refused returns the error of an answer that is no success.
func (b *bucketAPI) refused(r request, answer *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	token := ""
	if answer.Request != nil {
		token = answer.Request.Header.Get("Authorization")
	}
	return b.refusal(r, answer.StatusCode, answer.Header, text, token)
}

// refusal returns the error of an answer. token is the Authorization of its request, which
// must not be in the error.
func (b *bucketAPI) refusal(r request, status int, header http.Header, text []byte, token string) error {
	e := &object.Error{Op: r.op, Key: r.key, Status: status}
	e.Code, e.Message = explained(text)
	e.Code, e.Message = clean(e.Code, token), clean(e.Message, token)
	lower := strings.ToLower(e.Message)
	switch {
	case status == http.StatusPreconditionFailed || status == http.StatusNotModified:
		e.Message, e.Err = "", object.ErrPrecondition
	case status == http.StatusNotFound && (e.Code == "NoSuchBucket" || strings.Contains(lower, "bucket does not exist")):
		e.Message = b.noBucket()
	case status == http.StatusNotFound && fitsAny(r):
		e.Message = b.noBucket()
	case status == http.StatusNotFound:
		e.Message, e.Err = "", fs.ErrNotExist
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable ||
		status == http.StatusForbidden && strings.Contains(strings.ToLower(e.Code), "ratelimitexceeded"):
		e.Temporary, e.Throttled = true, true
	case status == http.StatusRequestTimeout || status/100 == 5 && status != http.StatusNotImplemented:
		e.Temporary = true
	case b.anonymous && (status == http.StatusUnauthorized || status == http.StatusForbidden):
		e.Err = fs.ErrPermission
		e.Message = join(e.Message, "the request had no credentials; "+logIn)
	case status == http.StatusUnauthorized:
		e.Err = fs.ErrPermission
		e.Message = join(e.Message, "the credentials have expired or are not valid; "+logIn) + b.from()
	case status == http.StatusForbidden:
		e.Err = fs.ErrPermission
		e.Message = join(e.Message, fmt.Sprintf("the account needs the role %s on the bucket %s, for %s", roleFor(r.op), b.bucket, permissions[r.op])) + b.from()
	case status == http.StatusBadRequest && strings.Contains(lower, "crc32c"):
		e.Temporary = true
		e.Message = join(e.Message, "the bytes were damaged on their way")
	}
	if e.Temporary {
		e.After = answers.RetryAfter(header)
	}
	return e
}

// noBucket is the message about a bucket that does not exist.
func (b *bucketAPI) noBucket() string {
	return fmt.Sprintf("there is no bucket %s; make it with `gcloud storage buckets create gs://%s`, or correct its name in the path", b.bucket, b.bucket)
}

// fitsAny reports whether a request fits any key, whether there is an object or not. If such
// a one finds nothing, there is no bucket.
func fitsAny(r request) bool {
	return r.op == opList || r.op == opPut || r.op == opUpload && r.query.Get("uploadType") != ""
}

// from says where the credentials come from, as the end of a message.
func (b *bucketAPI) from() string {
	if b.source == "" {
		return ""
	}
	return "; the credentials come from " + b.source
}

// permissions are what the operations need.
var permissions = map[string]string{
	opGet: "storage.objects.get", opStat: "storage.objects.get", opList: "storage.objects.list",
	opPut: "storage.objects.create, and storage.objects.delete to replace an object", opUpload: "storage.objects.create, storage.objects.get and storage.objects.delete",
	opCopy: "storage.objects.get and storage.objects.create", opDelete: "storage.objects.delete",
}

// roleFor returns the role that allows an operation.
func roleFor(op string) string {
	switch op {
	case opGet, opStat, opList:
		return "roles/storage.objectViewer"
	}
	return "roles/storage.objectUser"
}

// These are the operations that errors name.
const (
	opGet    = "get"
	opStat   = "stat"
	opList   = "list"
	opPut    = "put"
	opUpload = "upload"
	opCopy   = "copy"
	opDelete = "delete"
)

func join(message, advice string) string {
	if message == "" {
		return advice
	}
	return strings.TrimRight(message, ".") + "; " + advice
}

// explained returns the code and the message of an answer in JSON or XML.
func explained(text []byte) (code, message string) {
	var j struct {
		Error struct {
			Message string
			Errors  []struct{ Reason string }
		}
	}
	var x struct{ Code, Message, Details string }
	switch trimmed := strings.TrimSpace(string(text)); {
	case strings.HasPrefix(trimmed, "{"):
		if json.Unmarshal(text, &j) != nil {
			return "", ""
		}
		if len(j.Error.Errors) > 0 {
			code = j.Error.Errors[0].Reason
		}
		return code, j.Error.Message
	case strings.HasPrefix(trimmed, "<"):
		if xml.Unmarshal(text, &x) != nil {
			return "", ""
		}
		if x.Details != "" {
			return x.Code, join(x.Message, x.Details)
		}
		return x.Code, x.Message
	case len(trimmed) < answers.MaxText: // such as that of a proxy
		return "", trimmed
	}
	return "", ""
}

// secrets matches tokens of OAuth, and what follows their names.
var secrets = regexp.MustCompile(`(?i)(\b(bearer|basic)\s+\S+|\bya29\.\S+|\beyJ[\w-]+\.[\w.-]+|\b(access_token|refresh_token|id_token|client_secret|private_key|assertion|authorization)["']?\s*[:=]\s*\S+)`)

// clean returns a text of the outside for an error: one line, not long, and without
// credentials.
func clean(text, token string) string {
	for _, secret := range strings.Fields(token) {
		if len(secret) > len("bearer") {
			text = strings.ReplaceAll(text, secret, "xxxxx")
		}
	}
	text = secrets.ReplaceAllString(fault.Redacted(text), "xxxxx")
	return answers.OneLine(text)
}

// broken returns the error of a request that got no answer, or only a part of it.
func (b *bucketAPI) broken(ctx context.Context, r request, err error) error {
	e := &object.Error{Op: r.op, Key: r.key}
	if ctx.Err() != nil {
		e.Err = ctx.Err()
		return e
	}
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err
	}
	var token *oauth2.RetrieveError
	lasting := answers.Lasting(err)
	switch {
	case errors.As(err, &token):
		status := 0
		if token.Response != nil {
			status = token.Response.StatusCode
		}
		e.Temporary = status/100 == 5 || status == http.StatusTooManyRequests
		e.Err = fs.ErrPermission
		if e.Temporary {
			e.Err = nil
		}
		refusal := tokenRefusal(token)
		cure := "they have expired or are not valid; " + logIn
		if strings.Contains(refusal, "reasonable timeframe") || strings.Contains(refusal, "iat and exp") {
			cure = "the clock of this computer is wrong; set it"
		}
		e.Message = join(strings.Join(strings.Fields("no token for the credentials: "+refusal), " "), cure) + b.from()
		return e
	case strings.Contains(err.Error(), "private key"): // of a service account, before any request
		e.Message, e.Err = badKey+b.from(), fs.ErrPermission
		return e
	case lasting != "":
		e.Message = lasting + "; check STORAGE_EMULATOR_HOST, or the Endpoint of the Options"
		if b.endpoint == googleEndpoint {
			e.Message = lasting + "; check the network of this computer, and HTTPS_PROXY"
		}
	default:
		e.Temporary = true
	}
	e.Err = &answers.Quiet{Text: clean(err.Error(), ""), Err: err}
	return e
}

// tokenRefusal returns why a service gives no token: the two texts of its answer that have
// no credentials.
func tokenRefusal(err *oauth2.RetrieveError) string {
	answer := struct {
		Error       string
		Description string `json:"error_description"`
	}{err.ErrorCode, err.ErrorDescription}
	if answer.Error == "" && json.Unmarshal(err.Body, &answer) != nil {
		return ""
	}
	return clean(answer.Error+" "+answer.Description, "")
}
