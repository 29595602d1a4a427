package faults

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/archiverd/archiverd/genesys/genesystest"
)

// same is an effect that needs no cloud.
func same(e genesystest.Effect) func(*genesystest.Cloud) genesystest.Effect {
	return func(*genesystest.Cloud) genesystest.Effect { return e }
}

func status(code int, name string) func(*genesystest.Cloud) genesystest.Effect {
	return same(genesystest.Status(code, name))
}

func body(contentType, text string) func(*genesystest.Cloud) genesystest.Effect {
	return same(genesystest.Body(http.StatusOK, contentType, text))
}

func stall(c *genesystest.Cloud) genesystest.Effect { return c.Stall() }

func stallAfter(n int64) func(*genesystest.Cloud) genesystest.Effect {
	return func(c *genesystest.Cloud) genesystest.Effect { return c.StallAfter(n) }
}

// unixTime is a 429 whose Retry-After is a Unix time so far ahead.
func unixTime(ahead time.Duration) func(*genesystest.Cloud) genesystest.Effect {
	return func(*genesystest.Cloud) genesystest.Effect {
		return genesystest.RetryAfterText(http.StatusTooManyRequests, strconv.FormatInt(time.Now().Add(ahead).Unix(), 10))
	}
}

var connections = []Form{
	{Class: Refused, Name: "connection refused", Connect: NotListening},
	{Class: Stalled, Name: "no route to host, after 20 s", Connect: Unreachable},
}

// transport is what can happen to any exchange.
var transport = []Form{
	{Class: Reset, Name: "connection reset", Effect: same(genesystest.Reset())},
	{Class: Lost, Name: "connection reset after the effect", Effect: same(genesystest.LoseReply())},
	{Class: Stalled, Name: "no reply", Effect: stall},
}

// api is what any operation of the API may answer.
var api = slices.Concat(transport, []Form{
	{Class: Refused, Name: "400 bad.request", Effect: status(400, "bad.request")},
	{Class: Refused, Name: "409 conflict", Effect: status(409, "conflict")},
	{Class: Refused, Name: "413 request.entity.too.large", Effect: status(413, "request.entity.too.large")},
	{Class: Wait, Name: "429, Retry-After: 5", Effect: same(genesystest.RetryAfter(429, 5))},
	{Class: Wait, Name: "429 without Retry-After", Effect: status(429, "too.many.requests.retry.after")},
	{Class: Wait, Name: "429, Retry-After: 7200", Effect: same(genesystest.RetryAfter(429, 7200)), Once: true},
	{Class: Wait, Name: "429, Retry-After: a Unix time 30 s ahead", Effect: unixTime(30 * time.Second), Once: true},
	{Class: Wait, Name: "429, Retry-After: 99999999999", Effect: same(genesystest.RetryAfter(429, 99999999999)), Once: true},
	{Class: Wait, Name: "503, Retry-After: 5", Effect: same(genesystest.RetryAfter(503, 5))},
	{Class: Wait, Name: "503, Retry-After: 7200", Effect: same(genesystest.RetryAfter(503, 7200)), Once: true},
	{Class: Gone, Name: "404 not.found", Effect: status(404, "not.found")},
	{Class: Gone, Name: "404 with a page of HTML", Effect: same(genesystest.HTML(404))},
	{Class: Forbidden, Name: "403 not.authorized", Effect: status(403, "not.authorized")},
	{Class: Forbidden, Name: "403 app.not.authorized.for.scope", Effect: status(403, "app.not.authorized.for.scope")},
	{Class: Forbidden, Name: "401 ip.not.authorized", Effect: status(401, "ip.not.authorized")},
	{Class: Expired, Name: "401 bad.credentials", Effect: status(401, "bad.credentials")},
	{Class: Failing, Name: "408 request.timeout", Effect: status(408, "request.timeout")},
	{Class: Failing, Name: "500 internal.server.error", Effect: status(500, "internal.server.error")},
	{Class: Failing, Name: "502 with a page of HTML", Effect: same(genesystest.HTML(502))},
	{Class: Failing, Name: "503 service.unavailable", Effect: status(503, "service.unavailable")},
	{Class: Failing, Name: "504 gateway.timeout", Effect: status(504, "gateway.timeout")},
})

// jsonReplies is what can happen to a reply with content.
var jsonReplies = []Form{
	{Class: Cut, Name: "connection closed in the middle of the reply", Effect: same(genesystest.CutHalf())},
	{Class: Stalled, Name: "reply stops in the middle", Effect: stallAfter(10)},
	{Class: Wrong, Name: "200 with a page of HTML", Effect: same(genesystest.HTML(200))},
	{Class: Wrong, Name: "200 with truncated JSON", Effect: same(genesystest.Shorten())},
	{Class: Wrong, Name: "200 with an empty body", Effect: body("application/json", "")},
	{Class: Wrong, Name: "200 with null", Effect: body("application/json", "null")},
}

var listing = []Form{
	{Class: Wrong, Name: "200 with an empty page that claims recordings", Effect: body("application/json", `{"entities":[],"pageSize":100,"pageNumber":1,"total":2,"pageCount":1}`)},
	{Class: NotDone, Name: "200 with an empty inbox", Effect: body("application/json", `{"entities":[],"pageSize":100,"pageNumber":1,"total":0,"pageCount":0}`)},
	{Class: Wrong, Name: "200 with {}", Effect: body("application/json", `{}`)},
}

var recording = []Form{
	{Class: Wrong, Name: "200 with another recording", Effect: body("application/json", `{"id":"another","dateModified":"2026-11-22T10:00:00.000Z"}`)},
	{Class: Wrong, Name: "200 with {}", Effect: body("application/json", `{}`)},
}

var download = []Form{
	{Class: Wrong, Name: "200 with {}", Effect: body("application/json", `{}`)},
	{Class: NotDone, Name: "202, never ready", Cloud: func(o *genesystest.Options) { o.Queued = 1 << 30 }},
	{Class: NotDone, Name: "200 Completed without a link", Cloud: func(o *genesystest.Options) { o.WithoutLocation = 1 << 30 }},
	{Class: Wrong, Name: "link to nowhere", Cloud: func(o *genesystest.Options) {
		o.RewriteLink = func(string) string { return "http://10.9.9.9/nothing" }
	}},
}

var me = []Form{
	{Class: Wrong, Name: "200 that names another user", Effect: body("application/json", `{"id":"another","name":"Somebody"}`)},
	{Class: Wrong, Name: "200 with {}", Effect: body("application/json", `{}`)},
}

var deletion = []Form{
	{Class: NotDone, Name: "202, and listed for a day", Cloud: func(o *genesystest.Options) { o.DeletedListings = -1 }},
	{Class: NotDone, Name: "202, and nothing happens", Effect: same(genesystest.Body(http.StatusAccepted, "application/json", ""))},
	{Class: Wrong, Name: "200 with a page of HTML", Effect: same(genesystest.HTML(200))},
}

var renewal = []Form{
	{Class: Refused, Name: "400 invalid_request", Effect: same(genesystest.OAuthError(400, "invalid_request"))},
	{Class: Refused, Name: "401 invalid_client", Effect: same(genesystest.OAuthError(401, "invalid_client"))},
	{Class: Reset, Name: "connection reset", Effect: same(genesystest.Reset())},
	{Class: Lost, Name: "connection reset after the effect", Effect: same(genesystest.LoseReply()), Login: true},
	{Class: Cut, Name: "connection closed in the middle of the reply", Effect: same(genesystest.CutHalf()), Login: true},
	{Class: Stalled, Name: "no reply", Effect: stall},
	{Class: Stalled, Name: "reply stops in the middle", Effect: stallAfter(10), Login: true},
	{Class: Wrong, Name: "200 with a page of HTML", Effect: same(genesystest.HTML(200))},
	{Class: Wrong, Name: "200 with truncated JSON", Effect: same(genesystest.Shorten()), Login: true},
	{Class: Wrong, Name: "200 with {}", Effect: body("application/json", `{}`)},
	{Class: Wait, Name: "429, Retry-After: 5", Effect: same(genesystest.RetryAfter(429, 5))},
	{Class: Wait, Name: "429, Retry-After: 7200", Effect: same(genesystest.RetryAfter(429, 7200)), Once: true},
	{Class: Wait, Name: "503, Retry-After: 5", Effect: same(genesystest.RetryAfter(503, 5))},
	{Class: Gone, Name: "404 with a page of HTML", Effect: same(genesystest.HTML(404))},
	{Class: Forbidden, Name: "403 with a page of HTML", Effect: same(genesystest.HTML(403))},
	{Class: Expired, Name: "400 invalid_grant", Effect: same(genesystest.OAuthError(400, "invalid_grant"))},
	{Class: Failing, Name: "408 with a page of HTML", Effect: same(genesystest.HTML(408))},
	{Class: Failing, Name: "500 with a page of HTML", Effect: same(genesystest.HTML(500))},
	{Class: Failing, Name: "503 with a page of HTML", Effect: same(genesystest.HTML(503))},
	{Class: Failing, Name: "504 with a page of HTML", Effect: same(genesystest.HTML(504))},
	{Class: NotDone, Name: "200 with a token that is not accepted", Effect: body("application/json", `{"access_token":"worthless","token_type":"bearer","expires_in":86400}`)},
}

// link is what may happen to a download. Altered audio is left out: Genesys gives no
// checksum, so only TLS protects the audio.
var link = slices.Concat(transport, []Form{
	{Class: Cut, Name: "connection closed in the middle of the media", Effect: same(genesystest.CutHalf())},
	{Class: Stalled, Name: "media stop in the middle", Effect: stallAfter(1000)},
	{Class: Wrong, Name: "200 with a page of HTML", Effect: same(genesystest.HTML(200))},
	{Class: Wrong, Name: "200 with JSON", Effect: body("application/json", `{"message":"try again"}`)},
	{Class: Wrong, Name: "200 with XML", Effect: body("application/xml", `<?xml version="1.0"?><Error/>`)},
	{Class: Wrong, Name: "200 with an empty body", Effect: body("audio/wav", "")},
	{Class: Wrong, Name: "altered magic bytes", Effect: same(genesystest.AlterByte(1))},
	{Class: Wrong, Name: "half of the media, declared as all", Effect: same(genesystest.Shorten())},
	{Class: Wait, Name: "429, Retry-After: 5", Effect: same(genesystest.RetryAfter(429, 5))},
	{Class: Wait, Name: "503, Retry-After: 7200", Effect: same(genesystest.RetryAfter(503, 7200)), Once: true},
	{Class: Gone, Name: "404 with a page of HTML", Effect: same(genesystest.HTML(404))},
	{Class: Gone, Name: "410 with a page of HTML", Effect: same(genesystest.HTML(410))},
	{Class: Forbidden, Name: "401 with a page of HTML", Effect: same(genesystest.HTML(401))},
	{Class: Expired, Name: "403 Request has expired", Effect: same(genesystest.Expired())},
	{Class: Refused, Name: "400 with a page of HTML", Effect: same(genesystest.HTML(400))},
	{Class: Failing, Name: "500 with a page of HTML", Effect: same(genesystest.HTML(500))},
	{Class: Failing, Name: "503 with a page of HTML", Effect: same(genesystest.HTML(503))},
	{Class: Failing, Name: "504 with a page of HTML", Effect: same(genesystest.HTML(504))},
})

// fresh is what makes a download continue behind another link, whose transcode has other
// bytes.
var fresh = []Form{
	{Class: Cut, Name: "connection closed in the middle of the media, and the link expired", Effect: same(genesystest.CutHalf()),
		Cloud: func(o *genesystest.Options) { o.LinkLife = 100 * time.Millisecond }, Once: true},
	{Class: Expired, Name: "403 Request has expired", Effect: same(genesystest.Expired())},
}
