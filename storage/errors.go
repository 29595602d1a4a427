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

// The errors that callers branch on, by errors.Is. Each comes wrapped in an [*Error].
var (
	ErrExists   = errors.New("the key already holds an object")                                    // 412 PreconditionFailed
	ErrNotFound = errors.New("no such object")                                                     // NoSuchKey, NoSuchVersion; for Head also a missing bucket
	ErrChecksum = errors.New("the bytes do not match their checksum")                              // by the store's own comparison
	ErrNoBucket = errors.New("no such bucket")                                                     // NoSuchBucket
	ErrAccess   = errors.New("access refused")                                                     // 401, 403, or there are no credentials
	ErrNoUpload = errors.New("the store does not know the multipart upload")                       // NoSuchUpload: completed, aborted, or expired
	ErrConflict = errors.New("another write of the same key was under way")                        // 409 ConditionalRequestConflict; an upload has to be begun again
	ErrRegion   = errors.New("the bucket is in another region")                                    // 301, or 307 and 400 that name another region
	ErrHeader   = errors.New("a header of the reply can't be read")                                // a date or number is not in S3's form
	ErrNoLocks  = errors.New("the bucket has no Object Lock, so it keeps neither locks nor holds") // InvalidRequest or NotImplemented, when a hold or a lock is asked for
	ErrHeld     = errors.New("a legal hold keeps the version")                                     // of Remove
	ErrIgnored  = errors.New("the store accepted the request and ignored it")                      // shown by reading back
)

// The codes of conflicts for which S3 asks to repeat the request.
const (
	codeConflict = "ConditionalRequestConflict"
	codeAborted  = "OperationAborted"
)

// ErrChecksumHeader: the store refuses the x-amz-checksum headers or requires Content-MD5,
// as stores older than these headers do. With Options.Checksum "md5" the headers are left
// out.
var ErrChecksumHeader = errors.New("the store does not support the checksums that S3 has had since 2022: set storage.checksum to md5")

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
	opVersions = "list versions"
	opGetHold  = "get hold"
	opSetHold  = "set hold"
)

// The operations of a [Probe].
const (
	opVersioning   = "get versioning"
	opLockConfig   = "get lock configuration"
	opLifecycle    = "get lifecycle"
	opGetRetention = "get retention"
	opSetRetention = "set retention"
	opOverwrite    = "overwrite"
	opDelete       = "delete"
)

// codePending is the code of a request that was not sent because there are no credentials yet.
const codePending = "CredentialsPending"

// Error is a failed operation.
type Error struct {
	Op        string // "put", "head", …
	Key       string // of the object; of a listing the prefix; "" for the bucket itself
	Code      string // S3's, or one of this package's if nothing was sent; "" if the reply had none
	Status    int    // of the HTTP reply; 0: there was no reply
	RequestID string // to quote to the store's support
	Err       error  // a cause and a remedy, and one of the sentinels if one fits; never nil

	region string // the bucket's region if it is not ours; "" if it is ours or not known
}

// Error says what failed and, if known, what to do about it. It never
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

// SetUp reports whether every request to the store will fail with err until a person
// changes the configuration, the credentials' rights or the store.
func SetUp(err error) bool {
	for _, kind := range []error{ErrAccess, ErrNoBucket, ErrRegion, ErrHeader, ErrChecksumHeader} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// Temporary reports whether the same call may succeed later although nobody
// changes anything: no reply (also after a cancelled context: check the context
// first), 408, 429, 5xx but 501, a good status with a reply that is not S3's,
// the codes that S3 documents as temporary, and credentials that may still appear.
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

// refuse returns the error of an operation that is not sent.
func refuse(op, key, code, format string, args ...any) error {
	return &Error{Op: op, Key: key, Code: code, Err: fmt.Errorf(format, args...)}
}

// unreadable returns the error of a reply with a good status that is not S3's.
func unreadable(op, key, what string) error {
	return &Error{Op: op, Key: key, Status: http.StatusOK,
		Err: fmt.Errorf("the reply has no %s: is this an S3 server, or a proxy in front of one?", what)}
}

// fail turns an error of the SDK into an *Error; nil stays nil.
func (b *Bucket) fail(op, key string, err error) error {
	if err == nil {
		return nil
	}
	e := &Error{Op: op, Key: key}
	var status interface{ HTTPStatusCode() int } // also of a credentials' service
	if errors.As(err, &status) {
		e.Status = status.HTTPStatusCode()
	}
	reply, ok := errors.AsType[*awshttp.ResponseError](err)
	if ok && reply.Response != nil {
		e.RequestID = reply.ServiceRequestID()
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		e.Code = api.ErrorCode()
	}
	if reply != nil && (e.Status/100 == 3 || e.Code == "AuthorizationHeaderMalformed" || e.Code == "BadRequest") { // BadRequest: of a HEAD
		e.region = elsewhere(reply.Response.Header, err, b.client.Options().Region)
	}
	if _, garbled := errors.AsType[*smithy.DeserializationError](err); garbled && reply != nil && e.Status < 300 {
		if odd := oddHeader(reply.Response.Header); odd != nil {
			e.Code, err = codeHeader, odd
		}
	}
	if cred, ok := errors.AsType[*credentialsError](err); ok && !cancelled(err) {
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

// reason joins a sentinel, a cause and a remedy, as far as they are known.
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

// cause returns the part of an SDK error that is of use, without the URL.
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

// sentinel returns the error that callers branch on; nil if no sentinel fits. The
// reply to a HEAD has no body, so its code is only the text of its status.
func sentinel(e *Error) error {
	if e.region != "" {
		return ErrRegion
	}
	switch e.Code {
	case "NoSuchBucket":
		return ErrNoBucket
	case "NoSuchKey", "NoSuchVersion":
		return ErrNotFound
	case "InvalidRequest", "NotImplemented":
		if e.asksLock() {
			return ErrNoLocks
		}
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
	case "InvalidObjectState", "QuotaExceeded", codePending: // other rights would not help
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

// checksumHeader returns [ErrChecksumHeader] if the store's message names a checksum header:
// Backblaze B2 refuses it as InvalidArgument, others as InvalidRequest or NotImplemented.
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

// asksLock reports whether the operation asks for a version's hold or lock.
func (e *Error) asksLock() bool { return e.Op == opGetHold || e.Op == opGetRetention }

// writes reports whether the operation writes to the archive.
func (e *Error) writes() bool {
	return e.Op == opPut || e.Op == opCreate || e.Op == opPart || e.Op == opComplete
}

// remedy returns what an operator should do; "" if nothing is known.
func (b *Bucket) remedy(e *Error, err error) string {
	if e.region != "" {
		return fmt.Sprintf("the bucket is in %s: set storage.region", e.region)
	}
	switch e.Code {
	case codePending:
		return "credentials are looked for again; if there are still none, set storage.access_key_id and its secret, or provide what the AWS default chain looks for: environment, shared files, web identity token, container or instance role"
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
			return "the store lacks conditional writes or locks: archiverd cannot use it without these"
		}
		return "the store lacks checksums, conditional writes or locks: for checksums try storage.checksum: md5; archiverd cannot use a store without the others"
	case "InvalidObjectState":
		return "the object was moved to a storage class that must be restored before reading"
	case "QuotaExceeded":
		return "raise the store's quota"
	case codeHeader:
		return "make the store, or the proxy in front of it, write this header as S3 does, or use another store"
	}
	var cert *tls.CertificateVerificationError
	switch kind := sentinel(e); {
	case kind == ErrNoBucket:
		return fmt.Sprintf("create bucket %q or correct storage.bucket", b.opts.Bucket)
	case kind == ErrRegion:
		return "check storage.region and storage.endpoint"
	case kind == ErrAccess:
		return "allow the credentials' owner this operation on the bucket"
	case kind == ErrNoLocks:
		return "locks and holds take a bucket that was created with Object Lock, on a store that has them"
	case errors.As(err, &cert):
		return "check storage.endpoint and network.ca_file"
	}
	return ""
}
