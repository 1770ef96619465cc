package azure

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage/cloud/internal/answers"
	"github.com/go-orbax/orbax/storage/object"
)

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

// isOutside reports whether err is the answer to a range that begins at the end of a blob or
// behind it.
func isOutside(err error) bool { return bloberror.HasCode(err, bloberror.InvalidRange) }

// failed returns the error of a request of the client. Texts of the client can have the
// address of a request, with the signature of a SAS token, so they are not passed on.
func (b *bucket) failed(ctx context.Context, op, key string, err error) error {
	e := &object.Error{Op: op, Key: key}
	var answer *azcore.ResponseError
	switch {
	case ctx.Err() != nil:
		e.Err = ctx.Err()
	case errors.As(err, &answer):
		b.refused(e, answer)
	default:
		b.broken(e, err)
	}
	return e
}

// refused describes the answer of the service.
func (b *bucket) refused(e *object.Error, r *azcore.ResponseError) {
	e.Status, e.Code = r.StatusCode, b.clean(r.ErrorCode)
	header := http.Header{}
	if r.RawResponse != nil {
		header = r.RawResponse.Header
	}
	code := bloberror.Code(e.Code)
	switch code {
	case bloberror.ConditionNotMet, bloberror.TargetConditionNotMet, bloberror.SourceConditionNotMet, bloberror.BlobAlreadyExists:
		e.Err = object.ErrPrecondition
		return
	case bloberror.BlobNotFound:
		e.Err = fs.ErrNotExist
		return
	case bloberror.CRC64Mismatch, bloberror.MD5Mismatch:
		e.Temporary, e.Message = true, damaged
		return
	// The client has made the XML, which is bad only if it was damaged.
	case bloberror.InvalidXMLDocument, bloberror.InvalidXMLNodeValue, bloberror.MissingRequiredXMLNode, bloberror.UnsupportedXMLNode:
		e.Temporary, e.Message = true, damaged
		return
	case bloberror.PendingCopyOperation:
		e.Temporary, e.Message = true, "a copy to this object is not finished"
		return
	}
	switch {
	case code == "" && e.Status == http.StatusPreconditionFailed:
		e.Err = object.ErrPrecondition
		return
	case code == "" && e.Status == http.StatusNotFound && fitsAny(e.Op):
		e.Message = b.noContainer()
		return
	case (code == "" || code == bloberror.CannotVerifyCopySource) && e.Status == http.StatusNotFound:
		e.Err = fs.ErrNotExist
		return
	case e.Status == http.StatusTooManyRequests || e.Status == http.StatusServiceUnavailable:
		e.Temporary, e.Throttled = true, true
	case e.Status == http.StatusRequestTimeout || e.Status/100 == 5 && e.Status != http.StatusNotImplemented && e.Status != http.StatusHTTPVersionNotSupported:
		e.Temporary = true
	}
	if e.Temporary {
		e.After = retryAfter(header)
	}
	if advice, class := b.advice(e, code, header); advice != "" {
		if class == fs.ErrPermission {
			advice += b.from()
		}
		e.Message, e.Err = advice, class
		return
	}
	e.Message = b.clean(explained(r.RawResponse))
	if id := header.Get("x-ms-request-id"); id != "" {
		e.Message = strings.TrimSpace(e.Message + " (request " + b.clean(id) + ")")
	}
}

// damaged is the message about a request that has changed on its way, without TLS.
const damaged = "the bytes were damaged on their way"

// maxSkew is how far the clock of a caller may be from that of Azure.
const maxSkew = 15 * time.Minute

// roles says who may do what in a container.
const roles = "an identity needs the role Storage Blob Data Reader on the container to load, and Storage Blob Data Contributor to save (a new role takes some minutes); a SAS token of the container needs the permissions rl or racwdl"

// permissions are what the operations need: of an identity, and of a SAS token.
var permissions = map[string]string{
	opGet: "Storage Blob Data Reader, or r", opStat: "Storage Blob Data Reader, or r", opList: "Storage Blob Data Reader, or l",
	opPut: "Storage Blob Data Contributor, or w", opUpload: "Storage Blob Data Contributor, or w", opCopy: "Storage Blob Data Contributor, or r and w",
	opDelete: "Storage Blob Data Contributor, or d",
}

// needed says what an operation needs.
func needed(op string) string {
	return fmt.Sprintf("%s; this request (%s) needs %s", roles, op, permissions[op])
}

// from says where the credentials come from, as the end of a message.
func (b *bucket) from() string {
	if b.source == "" {
		return ""
	}
	return "; the credentials come from " + b.source
}

// fitsAny reports whether an operation fits any key, whether there is an object or not. If
// such a one finds nothing, there is no container.
func fitsAny(op string) bool { return op == opList || op == opPut }

// noContainer is the message about a container that does not exist.
func (b *bucket) noContainer() string {
	return fmt.Sprintf("there is no container %s in the account %s; make it with `az storage container create --account-name %s --name %s`, or correct its name in the path",
		b.container, b.account, b.account, b.container)
}

// sources says where credentials come from.
const sources = "set AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN, or AZURE_STORAGE_CONNECTION_STRING, or run `az login`"

// advice returns the text for an error whose cure is known, and the class of the error.
func (b *bucket) advice(e *object.Error, code bloberror.Code, header http.Header) (text string, class error) {
	switch code {
	case bloberror.ContainerNotFound:
		return b.noContainer(), nil
	case bloberror.ResourceNotFound: // the answer to requests without credentials
		if !fitsAny(e.Op) {
			class = fs.ErrNotExist
		}
		return fmt.Sprintf("the container %s does not exist, or is not public, or there is no such object; to read a private container, %s", b.container, sources), class
	case bloberror.ContainerBeingDeleted, bloberror.ContainerDisabled:
		return fmt.Sprintf("the container %s is being deleted or is disabled; wait some minutes and make it again, or use another one", b.container), nil
	case bloberror.AccountIsDisabled:
		return fmt.Sprintf("the account %s is disabled", b.account), fs.ErrPermission
	case bloberror.AuthenticationFailed:
		if text := b.outdated(header); text != "" {
			return text, fs.ErrPermission
		}
		return fmt.Sprintf("the key, the SAS token or the token of the identity is not valid for the account %s, or has been renewed since; correct AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN or AZURE_STORAGE_CONNECTION_STRING, or run `az login`", b.account), fs.ErrPermission
	case bloberror.InvalidAuthenticationInfo:
		return "the token of the identity has expired or is not valid; run `az login`, or renew the credentials of the identity", fs.ErrPermission
	case bloberror.NoAuthenticationInformation, "PublicAccessNotPermitted":
		return "the request had no credentials, and the container is not public; " + sources, fs.ErrPermission
	case "KeyBasedAuthenticationNotPermitted":
		return fmt.Sprintf("the account %s accepts no keys; unset AZURE_STORAGE_KEY and AZURE_STORAGE_CONNECTION_STRING, and run `az login`", b.account), fs.ErrPermission
	case bloberror.AuthorizationPermissionMismatch, bloberror.InsufficientAccountPermissions, bloberror.AuthorizationResourceTypeMismatch,
		bloberror.AuthorizationServiceMismatch:
		return "the credentials do not allow this; " + needed(e.Op), fs.ErrPermission
	case bloberror.AuthorizationSourceIPMismatch, bloberror.AuthorizationProtocolMismatch:
		return "the SAS token is not for the address or the protocol of this request; make one without these limits", fs.ErrPermission
	case bloberror.AuthorizationFailure: // the emulator answers this to all credentials that it does not accept
		if text := b.outdated(header); text != "" {
			return text, fs.ErrPermission
		}
		return fmt.Sprintf("the credentials are missing, not valid or not enough, or the network rules of the account %s keep this computer out; %s", b.account, needed(e.Op)), fs.ErrPermission
	case bloberror.BlobArchived, bloberror.BlobBeingRehydrated:
		return "the object is in the archive tier; move it to another one with `az storage blob set-tier`, and wait until that is done", nil
	case bloberror.BlobImmutableDueToPolicy:
		return "a policy or a legal hold of the container forbids to change the object; remove it, or use another container", fs.ErrPermission
	case bloberror.LeaseIDMissing, bloberror.LeaseIDMismatchWithBlobOperation:
		return "another program holds a lease on the object; break it with `az storage blob lease break`", fs.ErrPermission
	case bloberror.SnapshotsPresent:
		return "the object has snapshots; delete them with `az storage blob delete --delete-snapshots only`", nil
	case bloberror.InvalidBlockList:
		return "parts of the object are gone: another writer has made an object with the same key, or a week has passed; save again", nil
	case bloberror.InvalidBlobOrBlock, bloberror.InvalidBlockID:
		return "another program has begun an upload to the same key and not finished it; use another path, or delete the object there", nil
	}
	switch e.Status {
	case http.StatusUnauthorized:
		return "the credentials are missing or have expired; " + sources, fs.ErrPermission
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return "the service sends the request to another address, which Azure does not do; check the address of the service, and the network", nil
	case http.StatusBadRequest:
		if code == "" {
			return "the service does not say why; check the address of the service, and whether it begins with https://", nil
		}
	case http.StatusForbidden:
		return "the credentials do not allow this; " + needed(e.Op), fs.ErrPermission
	}
	return "", nil
}

// outdated returns the text for a request that is refused because of its time, or "". header
// is that of the answer, which has the time of the service.
func (b *bucket) outdated(header http.Header) string {
	now, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	start, end := b.sas.StartTime(), b.sas.ExpiryTime()
	switch skew := time.Since(now).Round(time.Second); {
	case skew.Abs() > maxSkew-time.Minute:
		return fmt.Sprintf("the clock of this computer differs by %v from that of Azure, which accepts %v; set the clock", skew.Abs(), maxSkew)
	case !end.IsZero() && now.After(end):
		return fmt.Sprintf("the SAS token has expired at %s; make a new one", end.Format(time.RFC3339))
	case !start.IsZero() && now.Before(start):
		return fmt.Sprintf("the SAS token is valid from %s on; wait, or make a new one", start.Format(time.RFC3339))
	}
	return ""
}

// explained returns the text of the service in an answer: the first line of its message. The
// lines and elements that follow repeat parts of the request.
func explained(r *http.Response) string {
	if r == nil {
		return ""
	}
	text, err := runtime.Payload(r) // the client has it already
	if err != nil {
		return ""
	}
	var x struct{ Message string }
	if xml.Unmarshal(text, &x) != nil {
		return ""
	}
	line, _, _ := strings.Cut(x.Message, "\n")
	return line
}

// signatures matches what follows the names of secrets.
var signatures = regexp.MustCompile(`(?i)\b((sig|AccountKey|SharedAccessSignature|client_secret|access_token|refresh_token|client_assertion|assertion)["']?\s*[:=]\s*|bearer |SharedKey )[^\s&;,<]+`)

// clean returns a text of the outside for an error: one line, not long, and without
// credentials.
func (b *bucket) clean(text string) string { return cleaned(text, b.sas.Signature()) }

// cleaned is clean without a bucket. secret, if not "", is a text to leave out.
func cleaned(text, secret string) string {
	if secret != "" {
		text = strings.ReplaceAll(text, secret, "xxxxx")
		text = strings.ReplaceAll(text, url.QueryEscape(secret), "xxxxx")
	}
	text = signatures.ReplaceAllString(fault.Redacted(text), "${1}xxxxx")
	return answers.OneLine(text)
}

// retryAfter returns how long the service wants the caller to wait.
func retryAfter(header http.Header) time.Duration {
	for _, name := range []string{"retry-after-ms", "x-ms-retry-after-ms"} {
		if ms, err := strconv.Atoi(header.Get(name)); err == nil && ms > 0 && ms < 1<<30 {
			return time.Duration(ms) * time.Millisecond
		}
	}
	return answers.RetryAfter(header)
}

// broken describes a request that got no answer, or only a part of it.
func (b *bucket) broken(e *object.Error, err error) {
	var outer *url.Error
	if errors.As(err, &outer) { // its text has the address of the request
		err = outer.Err
	}
	var identity *azidentity.AuthenticationFailedError
	lasting := answers.Lasting(err)
	var final interface{ NonRetriable() } // such as that of an identity that is gone
	switch {
	case errors.As(err, &identity):
		e.Err = fs.ErrPermission
		e.Message = "no token for the identity: " + b.clean(err.Error()) + "; " + sources
		if r := identity.RawResponse; r != nil && (r.StatusCode/100 == 5 || r.StatusCode == http.StatusTooManyRequests) {
			e.Temporary, e.Err = true, nil
		}
		return
	case strings.HasPrefix(lasting, "there is no host"):
		e.Message = fmt.Sprintf("there is no account %s, or its address cannot be looked up; check AZURE_STORAGE_ACCOUNT, AZURE_STORAGE_CONNECTION_STRING or the URL", b.account)
	case lasting != "":
		e.Message = lasting + "; check AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_SERVICE_ENDPOINT or the URL"
	case errors.As(err, &final):
	default:
		e.Temporary = true
	}
	e.Err = &answers.Quiet{Text: b.clean(err.Error()), Err: err}
}
