package genesystest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"testing"
)

const (
	pathMeTest = "/api/v2/users/me"
	firstPath  = "/api/v2/userrecordings/r000"
)

func TestFaultsAreMatchedAndCounted(t *testing.T) {
	w := newWorld(t, Options{})
	w.fill(2)
	w.Inject(Fault{Op: "get_userrecording", Recording: "r000", Skip: 1, Times: 2, Effect: Status(503, "service.unavailable")})
	w.Inject(Fault{Op: "get_userrecordings_summary", Inbox: "u-1", Times: Always, Effect: Status(409, "request.conflict")})
	w.Inject(Fault{Inbox: "u-2", Times: Always, Effect: Status(500, "internal.server.error")})
	for _, want := range []int{200, 503, 503, 200, 200} {
		if a := w.get(firstPath); a.status != want {
			t.Errorf("%d, want %d", a.status, want)
		}
		if a := w.get("/api/v2/userrecordings/r001"); a.status != 200 {
			t.Errorf("another recording: %d", a.status)
		}
		w.refused(w.get("/api/v2/userrecordings/summary"), 409, "request.conflict")
	}
	w.ClearFaults()
	if a := w.get("/api/v2/userrecordings/summary"); a.status != 200 {
		t.Errorf("%d", a.status)
	}
	w.noViolations()
}

func TestEffectsOnTheAPI(t *testing.T) {
	w := newWorld(t, Options{})
	w.fill(1)
	inject := func(e Effect) answer {
		w.Inject(Fault{Effect: e})
		return w.get(firstPath)
	}
	if a := inject(HTML(200)); a.status != 200 || !bytes.HasPrefix(a.body, []byte("<!DOCTYPE")) {
		t.Errorf("HTML: %d %s", a.status, a.body)
	}
	if a := inject(Shorten()); a.err != nil || a.status != 200 || json.Valid(a.body) || len(a.body) == 0 {
		t.Errorf("shortened: %v %s", a.err, a.body)
	}
	if a := inject(CutAfter(10)); !errors.Is(a.err, io.ErrUnexpectedEOF) || len(a.body) != 10 {
		t.Errorf("cut: %v %q", a.err, a.body)
	}
	if a := inject(Reset()); a.err == nil {
		t.Errorf("reset: %d", a.status)
	}
	if a := inject(Body(200, "application/json", "")); a.status != 200 || len(a.body) != 0 {
		t.Errorf("empty: %d %q", a.status, a.body)
	}
	if a := inject(Redirect("http://elsewhere.invalid/")); a.status != 302 || a.header.Get("Location") != "http://elsewhere.invalid/" {
		t.Errorf("redirect: %d", a.status)
	}
	w.Inject(Fault{Op: "oauth_token", Effect: OAuthError(400, "invalid_grant")})
	w.denied(w.grant("client", "secret", "grant_type", "client_credentials"), 400, "invalid_grant")
	w.noViolations()
}

func TestResetComesBeforeTheEffectAndLoseReplyAfter(t *testing.T) {
	w := newWorld(t, Options{})
	w.fill(1)
	for effect, left := range map[*Effect]int{new(Reset()): 1, new(LoseReply()): 0} {
		w.inbox.Restore("r000")
		w.Inject(Fault{Op: "delete_userrecording", Effect: *effect})
		a := w.delete("r000")
		if got := len(w.inbox.IDs()); a.err == nil || got != left {
			t.Errorf("%s: %d recordings left, status %d", effect.Name, got, a.status)
		}
	}
}

func TestEffectsOnMedia(t *testing.T) {
	w := newWorld(t, Options{})
	w.fill(1)
	link := w.link("r000", "WAV")
	whole := w.fetch(link).body
	inject := func(e Effect) answer {
		w.Inject(Fault{Op: "media_link", Recording: "r000", Effect: e})
		return w.fetch(link)
	}
	if a := inject(CutHalf()); !errors.Is(a.err, io.ErrUnexpectedEOF) || !bytes.Equal(a.body, whole[:len(whole)/2]) {
		t.Errorf("half: %v, %d bytes", a.err, len(a.body))
	}
	if a := inject(Shorten()); a.err != nil || !bytes.Equal(a.body, whole[:len(whole)/2]) {
		t.Errorf("shortened: %v, %d bytes", a.err, len(a.body))
	}
	a := inject(AlterByte(20000))
	if a.body[20000] ^= 0xff; !bytes.Equal(a.body, whole) {
		t.Error("altered byte: more or less than the one")
	}
	if a := inject(Expired()); a.status != 403 || !bytes.Contains(a.body, []byte("Request has expired")) {
		t.Errorf("expired: %d %s", a.status, a.body)
	}
	if a := inject(Slow(20 * len(whole))); !bytes.Equal(a.body, whole) {
		t.Errorf("slow: %v, %d bytes", a.err, len(a.body))
	}
	w.Configure(func(o *Options) { o.Links.Length = Chunked })
	if a := inject(CutAfter(5000)); !errors.Is(a.err, io.ErrUnexpectedEOF) || len(a.body) != 5000 {
		t.Errorf("cut while chunked: %v, %d bytes", a.err, len(a.body))
	}
	w.noViolations()
}

func TestStallEndsByRelease(t *testing.T) {
	w := newWorld(t, Options{})
	w.fill(1)
	w.Inject(Fault{Op: "get_users_me", Effect: w.Stall()})
	answers := make(chan answer)
	go func() { answers <- w.get(pathMeTest) }()
	w.await("get_users_me", 1)
	select {
	case a := <-answers:
		t.Fatalf("answered while stalled: %d", a.status)
	default:
	}
	w.Release()
	if a := <-answers; a.status != 200 {
		t.Errorf("%d %v", a.status, a.err)
	}

	w.Inject(Fault{Op: "media_link", Effect: w.StallAfter(1000)})
	p, err := w.client.Get(w.link("r000", "WAV"))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Body.Close()
	start := make([]byte, 1000)
	if _, err := io.ReadFull(p.Body, start); err != nil {
		t.Fatal(err)
	}
	w.Release()
	rest, err := io.ReadAll(p.Body)
	if want, _ := w.inbox.Media("r000", "WAV"); err != nil || sha256.Sum256(append(start, rest...)) != want.SHA256 {
		t.Errorf("%d more bytes, %v", len(rest), err)
	}
}

func TestStallEndsWhenTheClientGivesUp(t *testing.T) {
	w := newWorld(t, Options{})
	w.Inject(Fault{Times: Always, Effect: w.Stall()})
	ctx, cancel := context.WithCancel(t.Context())
	r, _ := http.NewRequestWithContext(ctx, "GET", w.APIURL()+pathMeTest, nil)
	done := make(chan answer)
	go func() { done <- w.do(r) }()
	w.await("get_users_me", 1)
	cancel()
	if a := <-done; !errors.Is(a.err, context.Canceled) {
		t.Errorf("%d %v", a.status, a.err)
	}
	go func() { done <- w.get(pathMeTest) }()
	w.await("get_users_me", 2)
	w.Close() // ends it too
	if a := <-done; a.err == nil {
		t.Errorf("answered while the Cloud closed: %d", a.status)
	}
}

func TestAwaitGivesUpWithItsContext(t *testing.T) {
	w := newWorld(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Await(ctx, "get_users_me", 1); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
