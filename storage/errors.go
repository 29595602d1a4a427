package storage

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
)

// What callers branch on, by errors.Is. Each comes wrapped in an [*Error].
var (
	ErrExists   = errors.New("the key already holds an object")              // 412 PreconditionFailed
	ErrNotFound = errors.New("no such object")                               // NoSuchKey, NoSuchVersion; for Head also a missing bucket
	ErrChecksum = errors.New("the bytes do not match their checksum")        // as the store sees them
	ErrNoBucket = errors.New("no such bucket")                               // NoSuchBucket
	ErrAccess   = errors.New("access refused")                               // 401, 403, or credentials that nobody gives
	ErrNoUpload = errors.New("the multipart upload is not known (any more)") // NoSuchUpload: completed, aborted, or expired
	ErrConflict = errors.New("another write of the same key was under way")  // 409 ConditionalRequestConflict; of an upload: begin a new one
	ErrRegion   = errors.New("the bucket is not where it was looked for")    // 301, or 307 and 400 that name another region
	ErrHeader   = errors.New("a header of the reply can't be read")          // dates and numbers in another form than S3's
)

// The codes of S3's conflicts that pass.
const (
	codeConflict = "ConditionalRequestConflict"
	codeAborted  = "OperationAborted"
)

// ErrChecksumHeader says that the store refuses the headers that carry checksums, or wants
// Content-MD5, as stores do that are older than these headers. Options.Checksum "md5"
// leaves them out.
var ErrChecksumHeader = errors.New("the store does not know the checksums that S3 has since 2022: set storage.checksum to md5")

// The operations, as Error.Op names them.
const (
	opCheck    = "check bucket"
	opPut      = "put"
	opCreate   = "create upload"
	opPart     = "upload part"
	opComplete = "complete upload"
	opAbort    = "abort upload"
	opUploads  = "list uploads"
	opHead     = "head"
	opGet      = "get"
	opRead     = "read"
	opList     = "list"
)

// Those of a [Probe].
const (
	opVersioning   = "get versioning"
	opLockConfig   = "get lock configuration"
	opLifecycle    = "get lifecycle"
	opGetRetention = "get retention"
	opSetRetention = "set retention"
	opOverwrite    = "overwrite"
	opDelete       = "delete"
)

// codePending is the code where there are no credentials yet.
const codePending = "CredentialsPending"

// Error is a failed operation.
type Error struct {
	Op        string // "put", "head", …
	Key       string // of the object; of a listing the prefix; "" for the bucket itself
	Code      string // S3's, or one of this package's where nothing was sent; "" where the reply had none
	Status    int    // of the HTTP reply; 0: none came
	RequestID string // to quote to the store's support
	Err       error  // one of the sentinels where there is one, with the cause and a remedy; never nil

	region string // in which the bucket is, where that is another than ours; "" where not known
}

// Error says what failed and, where known, what to do about it. It never
// shows credentials or a URL.
func (e *Error) Error() string {
	var s strings.Builder
	s.WriteString(e.Op)
	if e.Key != "" {
		fmt.Fprintf(&s, " %q", e.Key)
	}
	fmt.Fprintf(&s, ": %v", e.Err)
	var facts []string
	if e.Status != 0 {
		facts = append(facts, fmt.Sprintf("status %d", e.Status))
	}
	if e.Code != "" {
		facts = append(facts, e.Code)
	}
	if e.RequestID != "" {
		facts = append(facts, "request "+e.RequestID)
	}
	if facts != nil {
		fmt.Fprintf(&s, " (%s)", strings.Join(facts, ", "))
	}
	return s.String()
}

func (e *Error) Unwrap() error { return e.Err }

// SetUp tells an error that every request to the store would meet until a person changes
// the configuration, the credentials' rights or the store.
func SetUp(err error) bool {
	for _, kind := range []error{ErrAccess, ErrNoBucket, ErrRegion, ErrHeader, ErrChecksumHeader} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// Temporary reports whether the same call may succeed later with nothing
// changed: no reply (a cancelled context included: look at the context first),
// 408, 429, 5xx but 501, a good status with a reply that is not S3's, what
// S3 documents as passing, and credentials that may come by themselves.
func (e *Error) Temporary() bool {
	if e.region != "" {
		return false
	}
	switch e.Code {
	case "SlowDown", "RequestTimeout", "RequestTimeoutException", "Throttling", "ThrottlingException",
		codeConflict, codeAborted, "InternalError", "ServiceUnavailable", "TemporaryRedirect", codePending:
		return true
	}
	switch e.Status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return true
	case http.StatusNotImplemented:
		return false
	}
	if e.Status < 300 {
		return e.Code == ""
	}
	return e.Status >= 500
}

// refuse is an operation that was not sent.
func refuse(op, key, code, format string, args ...any) error {
	return &Error{Op: op, Key: key, Code: code, Err: fmt.Errorf(format, args...)}
}

// unreadable is a good status with something else than S3's reply.
func unreadable(op, key, what string) error {
	return &Error{Op: op, Key: key, Status: http.StatusOK,
		Err: fmt.Errorf("the reply has no %s: is this an S3 server, or a proxy before it?", what)}
}

// fail turns what the SDK gave into an *Error; nil stays nil.
func (b *Bucket) fail(op, key string, err error) error {
	if err == nil {
		return nil
	}
	e := &Error{Op: op, Key: key}
	var status interface{ HTTPStatusCode() int } // also of a credentials' service
	if errors.As(err, &status) {
		e.Status = status.HTTPStatusCode()
	}
	var reply *awshttp.ResponseError
	if errors.As(err, &reply) && reply.Response != nil {
		e.RequestID = reply.ServiceRequestID()
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		e.Code = api.ErrorCode()
	}
	if reply != nil && (e.Status/100 == 3 || e.Code == "AuthorizationHeaderMalformed" || e.Code == "BadRequest") { // the last: a HEAD's
		e.region = elsewhere(reply.Response.Header, err, b.client.Options().Region)
	}
	var garbled *smithy.DeserializationError
	if reply != nil && e.Status < 300 && errors.As(err, &garbled) {
		if odd := oddHeader(reply.Response.Header); odd != nil {
			e.Code, err = codeHeader, odd
		}
	}
	var cred *credentialsError
	if errors.As(err, &cred) && !cancelled(err) {
		if e.Code = codePending; cred.lasting {
			e.Code = "NoCredentials"
		}
	}
	r := &reason{remedy: b.remedy(e, err)}
	for _, err := range []error{sentinel(e), b.checksumHeader(e, err), cause(err)} {
		if err != nil {
			r.errs = append(r.errs, err)
		}
	}
	e.Err = r
	return e
}

// reason is a sentinel, a cause and a remedy, as far as there are any.
type reason struct {
	errs   []error
	remedy string
}

func (r *reason) Error() string {
	var texts []string
	for _, err := range r.errs {
		texts = append(texts, err.Error())
	}
	s := strings.Join(texts, ": ")
	if r.remedy != "" {
		s += "; " + r.remedy
	}
	return s
}

func (r *reason) Unwrap() []error { return r.errs }

// cause is the part of an SDK error that says something, without the URL.
func cause(err error) error {
	var cred *credentialsError
	var api smithy.APIError
	var sent *url.Error
	var garbled *smithy.DeserializationError
	switch {
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	case errors.As(err, &cred):
		return cred.err
	case errors.As(err, &api) && api.ErrorMessage() != "":
		return errors.New(api.ErrorMessage())
	case api != nil:
		return errors.New(api.ErrorCode())
	case errors.As(err, &sent):
		return fmt.Errorf("no reply: %w", sent.Err)
	case errors.As(err, &garbled):
		return fmt.Errorf("the reply is not S3's: %w", garbled.Err)
	}
	return err
}

func cancelled(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// sentinel is what callers branch on; nil where there is none. A HEAD's reply
// has no body, hence no code but the status' own text.
func sentinel(e *Error) error {
	if e.region != "" {
		return ErrRegion
	}
	switch e.Code {
	case "NoSuchBucket":
		return ErrNoBucket
	case "NoSuchKey", "NoSuchVersion":
		return ErrNotFound
	case "NoSuchUpload":
		return ErrNoUpload
	case codeConflict:
		return ErrConflict
	case "AuthorizationHeaderMalformed":
		return ErrRegion
	case codeHeader:
		return ErrHeader
	case "BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch":
		return ErrChecksum
	case "NoCredentials", "InvalidAccessKeyId", "SignatureDoesNotMatch",
		"XAdminUserNotFound": // versitygw's InvalidAccessKeyId, a 404
		return ErrAccess
	case "InvalidObjectState", "QuotaExceeded", codePending: // no matter of rights
		return nil
	}
	switch e.Status {
	case http.StatusNotFound:
		switch e.Op {
		case opCheck:
			return ErrNoBucket
		case opHead:
			return ErrNotFound
		}
	case http.StatusMovedPermanently, http.StatusPermanentRedirect:
		return ErrRegion
	case http.StatusPreconditionFailed:
		return ErrExists
	case http.StatusUnauthorized, http.StatusForbidden:
		return ErrAccess
	}
	return nil
}

// checksumHeader is [ErrChecksumHeader] where a store names the header that it refuses or
// misses: Backblaze B2 as InvalidArgument, others as InvalidRequest or NotImplemented.
func (b *Bucket) checksumHeader(e *Error, err error) error {
	var api smithy.APIError
	if b.md5() || !e.writes() || e.Status != http.StatusBadRequest && e.Status != http.StatusNotImplemented || sentinel(e) != nil || !errors.As(err, &api) {
		return nil
	}
	text := strings.ToLower(api.ErrorMessage())
	if strings.Contains(text, "checksum") || strings.Contains(text, "content-md5") {
		return ErrChecksumHeader
	}
	return nil
}

// writes tells an operation without which there is no archive.
func (e *Error) writes() bool {
	return e.Op == opPut || e.Op == opCreate || e.Op == opPart || e.Op == opComplete
}

// remedy tells an operator what to do; "" where there is nothing to say.
func (b *Bucket) remedy(e *Error, err error) string {
	if e.region != "" {
		return fmt.Sprintf("the bucket is in %s: set storage.region", e.region)
	}
	switch e.Code {
	case codePending:
		return "credentials are asked for again; if none come, set storage.access_key_id and its secret, or see to what the AWS default chain looks for: environment, shared files, web identity token, container or instance role"
	case "NoCredentials":
		return "set storage.access_key_id and its secret, or give this machine an AWS role"
	case "InvalidAccessKeyId", "XAdminUserNotFound":
		return "check storage.access_key_id"
	case "SignatureDoesNotMatch":
		return "check storage.secret_access_key_file and storage.region"
	case "RequestTimeTooSkewed", "ExpiredToken", "RequestExpired":
		return "check the local clock, and that the credentials have not expired"
	case "NotImplemented":
		if !e.writes() {
			return ""
		}
		if b.md5() {
			return "the store lacks conditional writes or locks: it cannot be used so"
		}
		return "the store lacks checksums, for which storage.checksum: md5 may do, or conditional writes or locks: without these it cannot be used so"
	case "InvalidObjectState":
		return "the object was moved to a storage class that must be restored before reading"
	case "QuotaExceeded":
		return "raise the store's quota"
	case codeHeader:
		return "have the store, or the proxy before it, write this header as S3 does, or use another store"
	}
	var cert *tls.CertificateVerificationError
	switch kind := sentinel(e); {
	case kind == ErrNoBucket:
		return fmt.Sprintf("create bucket %q or correct storage.bucket", b.opts.Bucket)
	case kind == ErrRegion:
		return "check storage.region and storage.endpoint"
	case kind == ErrAccess:
		return "allow the credentials' owner this operation on the bucket"
	case errors.As(err, &cert):
		return "check storage.endpoint and network.ca_file"
	}
	return ""
}
