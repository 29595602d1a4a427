package storage

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestErrorReplies(t *testing.T) {
	for _, tc := range []struct {
		status    int
		code      string
		is        error
		temporary bool
		says      string
	}{
		{404, "NoSuchBucket", ErrNoBucket, false, `create bucket "bucket"`},
		{404, "NoSuchKey", ErrNotFound, false, ""},
		{404, "NoSuchVersion", ErrNotFound, false, ""},
		{404, "NoSuchUpload", ErrNoUpload, false, ""},
		{404, "XAdminUserNotFound", ErrAccess, false, "storage.access_key_id"},
		{404, "Whatever", nil, false, "Whatever"},
		{412, "PreconditionFailed", ErrExists, false, ""},
		{409, "ConditionalRequestConflict", ErrConflict, true, ""},
		{409, "OperationAborted", nil, true, ""},
		{409, "InvalidBucketState", nil, false, ""},
		{400, "BadDigest", ErrChecksum, false, ""},
		{400, "InvalidDigest", ErrChecksum, false, ""},
		{400, "XAmzContentChecksumMismatch", ErrChecksum, false, ""},
		{400, "XAmzContentSHA256Mismatch", ErrChecksum, false, ""},
		{400, "RequestTimeout", nil, true, ""},
		{400, "AuthorizationHeaderMalformed", ErrRegion, false, "the bucket is in us-west-2: set storage.region"},
		{301, "PermanentRedirect", ErrRegion, false, "the bucket is in us-west-2: set storage.region"},
		{307, "TemporaryRedirect", nil, true, ""},
		{401, "", ErrAccess, false, "allow"},
		{403, "AccessDenied", ErrAccess, false, "allow"},
		{403, "InvalidAccessKeyId", ErrAccess, false, "storage.access_key_id"},
		{403, "SignatureDoesNotMatch", ErrAccess, false, "storage.secret_access_key_file"},
		{403, "RequestTimeTooSkewed", ErrAccess, false, "clock"},
		{403, "InvalidObjectState", nil, false, "restored"},
		{403, "QuotaExceeded", nil, false, "quota"},
		{408, "", nil, true, ""},
		{429, "", nil, true, ""},
		{500, "InternalError", nil, true, ""},
		{501, "NotImplemented", nil, false, "conditional writes"},
		{503, "SlowDown", nil, true, ""},
		{507, "XMinioStorageFull", nil, true, ""},
		{200, "InternalError", nil, true, ""},
	} {
		b := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Amz-Request-Id", "REQ1")
			w.Header().Set("X-Amz-Bucket-Region", "us-west-2")
			if tc.status != 301 && tc.code != "AuthorizationHeaderMalformed" {
				w.Header().Set("X-Amz-Bucket-Region", "eu-west-1")
			}
			w.WriteHeader(tc.status)
			if tc.code != "" {
				_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>the reason</Message></Error>", tc.code)
			}
		})
		err := operations(t.Context(), b)[opComplete]()
		e, ok := errors.AsType[*Error](err)
		if !ok {
			t.Errorf("%s: %v", tc.code, err)
			continue
		}
		for _, sentinel := range []error{ErrNoBucket, ErrNotFound, ErrNoUpload, ErrAccess, ErrExists, ErrChecksum, ErrConflict, ErrRegion, ErrHeader} {
			if errors.Is(err, sentinel) != (sentinel == tc.is) {
				t.Errorf("%d %s is %v: %v", tc.status, tc.code, sentinel, errors.Is(err, sentinel))
			}
		}
		if e.Temporary() != tc.temporary || e.Key != "k" || (tc.code != "" && e.Code != tc.code) {
			t.Errorf("%d %s: temporary %v, %+v", tc.status, tc.code, e.Temporary(), e)
		}
		text := err.Error()
		for _, part := range []string{tc.says, tc.code, `complete upload "k": `, "request REQ1"} {
			if !strings.Contains(text, part) {
				t.Errorf("%d %s: %q lacks %q", tc.status, tc.code, text, part)
			}
		}
		if strings.Contains(text, "AKIATEST") || strings.Contains(text, "the-secret") || strings.Contains(text, "http") {
			t.Errorf("shows a secret: %s", text)
		}
	}
}

// TestConflictRepeated wants a request repeated that conflicts with another write twice.
func TestConflictRepeated(t *testing.T) {
	for _, code := range []string{"ConditionalRequestConflict", "OperationAborted"} {
		requests := 0
		b := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			if requests++; requests < attempts {
				w.WriteHeader(http.StatusConflict)
				_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code></Error>", code)
				return
			}
			w.Header().Set("ETag", `"e"`)
		})
		if err := operations(t.Context(), b)[opPut](); err != nil || requests != attempts {
			t.Errorf("%s: %v after %d requests", code, err, requests)
		}
	}
}

// TestOddHeader wants the error to name the header that can't be read, and the headers that
// S3 and similar servers send to be accepted.
func TestOddHeader(t *testing.T) {
	for _, h := range []string{
		"Last-Modified: 2026-11-28T00:00:00Z", "Last-Modified: Sat, 28 Nov 2026 00:00:00 +0000", "Last-Modified: ",
		"X-Amz-Object-Lock-Retain-Until-Date: 2033-11-28T00:00:00+0000", "X-Amz-Object-Lock-Retain-Until-Date: Mon, 28 Nov 2033 00:00:00 GMT",
		"X-Amz-Delete-Marker: no", "X-Amz-Mp-Parts-Count: two", "X-Amz-Missing-Meta: -", "X-Amz-Tagging-Count: x",
		"X-Amz-Server-Side-Encryption-Bucket-Key-Enabled: on",
	} {
		name, value, _ := strings.Cut(h, ": ")
		b := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set(name, value) })
		all := operations(t.Context(), b)
		for _, op := range []string{opHead, opGet} {
			var e *Error
			if err := all[op](); !errors.Is(err, ErrHeader) || !errors.As(err, &e) || e.Temporary() ||
				!strings.Contains(strings.ToLower(err.Error()), strings.ToLower(fmt.Sprintf("%s: %q", name, value))) {
				t.Errorf("%s with %s: %v", op, h, err)
			}
		}
	}
	for _, h := range []string{
		"Last-Modified: Sat, 28 Nov 2026 00:00:00 GMT", "Expires: soon", "X-Amz-Expiration: soon", "X-Amz-Missing-Meta: 0",
		"X-Amz-Object-Lock-Retain-Until-Date: 2033-11-28T00:00:00.000Z", "X-Amz-Object-Lock-Retain-Until-Date: 2033-11-28T01:00:00+01:00",
	} {
		name, value, _ := strings.Cut(h, ": ")
		b := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set(name, value) })
		if err := operations(t.Context(), b)[opHead](); err != nil {
			t.Errorf("%s: %v", h, err)
		}
	}
}

// TestChecksumHeader wants a store that does not support checksum headers distinguished from
// a store that received other bytes.
func TestChecksumHeader(t *testing.T) {
	for _, tc := range []struct {
		status        int
		code, message string
		want          bool
	}{
		{400, "InvalidArgument", "Unsupported header 'x-amz-checksum-sha256' received for this API call.", true}, // Backblaze B2
		{501, "NotImplemented", "Header 'x-amz-checksum-algorithm' with value 'CRC32' not implemented", true},
		{400, "InvalidRequest", "Content-MD5 HTTP header is required for Put Object requests with Object Lock parameters", true},
		{400, "InvalidArgument", "Invalid version id specified", false},
		{400, "BadDigest", "The CRC32 checksum you specified did not match", false},
		{403, "AccessDenied", "checksum", false},
		{503, "SlowDown", "checksum", false},
	} {
		h := func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(tc.status)
			_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", tc.code, tc.message)
		}
		for _, op := range []string{opPut, opCreate, opPart, opComplete} {
			if err := operations(t.Context(), serve(t, h))[op](); errors.Is(err, ErrChecksumHeader) != tc.want {
				t.Errorf("%s, %s: %v", op, tc.message, err)
			}
			old := serve(t, h, func(o *Options) { o.Checksum = "md5" })
			if err := operations(t.Context(), old)[op](); errors.Is(err, ErrChecksumHeader) {
				t.Errorf("%s with md5, %s: %v", op, tc.message, err)
			}
		}
		if err := operations(t.Context(), serve(t, h))[opGet](); errors.Is(err, ErrChecksumHeader) {
			t.Errorf("get, %s: %v", tc.message, err)
		}
	}
}
