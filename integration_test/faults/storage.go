package faults

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/archiverd/archiverd/genesys/genesystest"
)

// answered is an effect that answers in the store's place.
func replied(code int, text string, header ...string) func(*genesystest.Cloud) genesystest.Effect {
	return same(genesystest.Effect{Name: "replied", Before: func(w http.ResponseWriter, _ *http.Request) bool {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, text)
		return true
	}})
}

// refuse answers with an error of S3's.
func refuse(code int, name string) func(*genesystest.Cloud) genesystest.Effect {
	return same(genesystest.Effect{Name: name, Before: func(w http.ResponseWriter, _ *http.Request) bool {
		s3Error(w, code, name)
		return true
	}})
}

// forwarded changes a request before the store has it.
func forwarded(change func(h http.Header, body []byte) []byte) func(*genesystest.Cloud) genesystest.Effect {
	return same(genesystest.Effect{Name: "forwarded", Before: func(_ http.ResponseWriter, r *http.Request) bool {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		body = change(r.Header, body)
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		return false
	}})
}

func without(prefix string) func(*genesystest.Cloud) genesystest.Effect {
	return forwarded(func(h http.Header, body []byte) []byte {
		maps.DeleteFunc(h, func(name string, _ []string) bool { return strings.HasPrefix(name, prefix) })
		return body
	})
}

func altered(_ http.Header, body []byte) []byte {
	body = bytes.Clone(body)
	body[len(body)-1] ^= 0xff
	return body
}

func halved(_ http.Header, body []byte) []byte { return body[:len(body)/2] }

// shown changes a header of a good reply; "" takes it away.
func shown(name, value string) func(*genesystest.Cloud) genesystest.Effect {
	return same(genesystest.Effect{Name: "shown", Wrap: func(w http.ResponseWriter, _ *http.Request) http.ResponseWriter {
		return &reshown{w, name, value}
	}})
}

type reshown struct {
	http.ResponseWriter
	name, value string
}

func (r *reshown) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *reshown) WriteHeader(code int) {
	if code == http.StatusOK {
		if r.Header().Del(r.name); r.value != "" {
			r.Header().Set(r.name, r.value)
		}
	}
	r.ResponseWriter.WriteHeader(code)
}

// s3 is what may happen to any request to a store.
var s3 = slices.Concat(transport, []Form{
	{Class: Refused, Name: "400 InvalidRequest", Effect: refuse(400, "InvalidRequest")},
	{Class: Refused, Name: "409 OperationAborted", Effect: refuse(409, "OperationAborted")},
	{Class: Refused, Name: "413 EntityTooLarge", Effect: refuse(413, "EntityTooLarge")},
	{Class: Refused, Name: "501 NotImplemented", Effect: refuse(501, "NotImplemented")},
	{Class: Wait, Name: "503 SlowDown", Effect: refuse(503, "SlowDown")},
	{Class: Wait, Name: "429 TooManyRequests", Effect: refuse(429, "TooManyRequests")},
	{Class: Gone, Name: "404 NoSuchBucket", Effect: refuse(404, "NoSuchBucket")},
	{Class: Forbidden, Name: "403 AccessDenied", Effect: refuse(403, "AccessDenied")},
	{Class: Forbidden, Name: "401 with a page of HTML", Effect: same(genesystest.HTML(401))},
	{Class: Expired, Name: "400 ExpiredToken", Effect: refuse(400, "ExpiredToken")},
	{Class: Expired, Name: "403 RequestTimeTooSkewed", Effect: refuse(403, "RequestTimeTooSkewed")},
	{Class: Failing, Name: "408 RequestTimeout", Effect: refuse(408, "RequestTimeout")},
	{Class: Failing, Name: "500 InternalError", Effect: refuse(500, "InternalError")},
	{Class: Failing, Name: "503 ServiceUnavailable", Effect: refuse(503, "ServiceUnavailable")},
	{Class: Failing, Name: "504 with a page of HTML", Effect: same(genesystest.HTML(504))},
})

// create is what may happen to a create-only write.
var create = []Form{
	{Class: Refused, Name: "409 ConditionalRequestConflict", Effect: refuse(409, "ConditionalRequestConflict")},
	{Class: Refused, Name: "403 QuotaExceeded", Effect: refuse(403, "QuotaExceeded")},
	{Class: Refused, Name: "507 with a page of HTML", Effect: same(genesystest.HTML(507))},
	{Class: Wrong, Name: "412 though nothing is there", Effect: refuse(412, "PreconditionFailed")},
	{Class: Wrong, Name: "200 with a page of HTML", Effect: same(genesystest.HTML(200))},
	{Class: NotDone, Name: "200, and nothing is stored", Effect: replied(200, "", "ETag", `"0123"`)},
}

var put = slices.Concat(create, []Form{
	{Class: Wrong, Name: "bytes altered on the way", Effect: forwarded(altered)},
	{Class: Wrong, Name: "bytes lost on the way", Effect: forwarded(halved)},
	{Class: NotDone, Name: "stored, but not locked", Effect: without("X-Amz-Object-Lock-")},
})

// careless is what a store that compares nothing may do.
var careless = []Form{
	{Class: Wrong, Name: "other bytes stored than came", Effect: forwarded(altered)},
	{Class: Wrong, Name: "fewer bytes stored than came", Effect: forwarded(halved)},
	{Class: NotDone, Name: "200, and nothing is stored", Effect: replied(200, "", "ETag", `"0123"`)},
	{Class: NotDone, Name: "If-None-Match ignored", Effect: without("If-None-Match")},
}

var head = []Form{
	{Class: Wrong, Name: "another size", Effect: shown("Content-Length", "17")},
	{Class: Wrong, Name: "another checksum", Effect: shown("X-Amz-Checksum-Sha256", "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=")},
	{Class: Wrong, Name: "no checksum", Effect: shown("X-Amz-Checksum-Sha256", "")},
	{Class: Wrong, Name: "no lock", Effect: shown("X-Amz-Object-Lock-Mode", "")},
	{Class: Wrong, Name: "a lock that ends too early", Effect: shown("X-Amz-Object-Lock-Retain-Until-Date", "2027-01-01T00:00:00Z")},
	{Class: Wrong, Name: "an expiry before the end of the retention", Effect: shown("X-Amz-Expiration", `expiry-date="Fri, 01 Jan 2027 00:00:00 GMT", rule-id="r"`)},
	{Class: Gone, Name: "404", Effect: refuse(404, "NoSuchKey")},
}

var get = []Form{
	{Class: Cut, Name: "connection closed in the middle", Effect: same(genesystest.CutHalf())},
	{Class: Stalled, Name: "bytes stop in the middle", Effect: stallAfter(20)},
	{Class: Wrong, Name: "an altered byte", Effect: same(genesystest.AlterByte(60))},
	{Class: Wrong, Name: "half of the bytes, declared as all", Effect: same(genesystest.Shorten())},
	{Class: Wrong, Name: "200 with a page of HTML", Effect: same(genesystest.HTML(200))},
	{Class: Gone, Name: "404 NoSuchKey", Effect: refuse(404, "NoSuchKey")},
}

// s3Create leaves uploads whose ids the client never got.
var s3Create = func() []Form {
	forms := slices.Clone(s3)
	for i := range forms {
		forms[i].Parts = forms[i].Class == Lost
	}
	return forms
}()

var listObjects = []Form{
	{Class: Cut, Name: "connection closed in the middle", Effect: same(genesystest.CutAfter(20))},
	{Class: Wrong, Name: "200 with a page of HTML", Effect: same(genesystest.HTML(200))},
}

var createUpload = []Form{
	{Class: Wrong, Name: "200 without an upload id", Effect: replied(200, `<?xml version="1.0"?><InitiateMultipartUploadResult></InitiateMultipartUploadResult>`)},
	{Class: Wrong, Name: "200 with a page of HTML", Effect: same(genesystest.HTML(200))},
	{Class: Cut, Name: "connection closed in the middle of the reply", Effect: same(genesystest.CutAfter(20)), Parts: true},
	{Class: NotDone, Name: "begun, but not locked", Effect: without("X-Amz-Object-Lock-")},
}

var part = []Form{
	{Class: Wrong, Name: "bytes altered on the way", Effect: forwarded(altered)},
	{Class: Wrong, Name: "200 without an ETag", Effect: replied(200, "")},
	{Class: NotDone, Name: "200, and nothing is stored", Effect: replied(200, "", "ETag", `"0123456789abcdef0123456789abcdef"`)},
	{Class: Gone, Name: "404 NoSuchUpload", Effect: refuse(404, "NoSuchUpload")},
}

var complete = []Form{
	{Class: Cut, Name: "connection closed in the middle of the reply", Effect: same(genesystest.CutAfter(20))},
	{Class: Wrong, Name: "200 with an error in the body", Effect: replied(200, `<?xml version="1.0"?><Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>`, "Content-Type", "application/xml")},
	{Class: Wrong, Name: "200 with a page of HTML", Effect: same(genesystest.HTML(200))},
	{Class: Refused, Name: "409 ConditionalRequestConflict", Effect: refuse(409, "ConditionalRequestConflict")},
	{Class: Wrong, Name: "400 InvalidPart", Effect: refuse(400, "InvalidPart")},
	{Class: Wrong, Name: "412 though nothing is there", Effect: refuse(412, "PreconditionFailed")},
	{Class: Gone, Name: "404 NoSuchUpload", Effect: refuse(404, "NoSuchUpload")},
	{Class: NotDone, Name: "200, and nothing is there", Effect: replied(200, `<?xml version="1.0"?><CompleteMultipartUploadResult><ETag>"0123"</ETag></CompleteMultipartUploadResult>`, "Content-Type", "application/xml"), Parts: true},
}

var abort = []Form{
	{Class: NotDone, Name: "204, and the upload stays", Effect: replied(204, "")},
}

// commits is how a change of the ledger fails.
var commits = []Form{
	{Class: Refused, Name: "disk full: nothing was written", Commit: DiskFull},
	{Class: Lost, Name: "written, but the disk reports an error", Commit: Unsynced},
}
