package watch

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/archiverd/archiverd/archiver"
	"github.com/archiverd/archiverd/service"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
	"github.com/archiverd/archiverd/tally"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newLedger(t *testing.T) *bolt.Ledger {
	t.Helper()
	l, err := bolt.Open(filepath.Join(t.TempDir(), "ledger.db"), bolt.Options{})
	must(t, err)
	t.Cleanup(func() { _ = l.Close() }) // a test may have closed it
	return l
}

// listed puts recordings into an inbox.
func listed(t *testing.T, l *bolt.Ledger, inbox string, ids ...string) {
	t.Helper()
	must(t, l.List(t.Context(), "acme", inbox, nil, func(func(string) (state.Entry, bool)) (changes []state.Change) {
		for _, id := range ids {
			changes = append(changes, state.Change{Recording: id, To: state.StateListed, Edit: func(e *state.Entry) {
				e.Name, e.Raw, e.DateModified = "Secret call of "+id, []byte("{}"), "2026-11-01T00:00:00.000Z"
			}})
		}
		return changes
	}))
}

func move(t *testing.T, l *bolt.Ledger, inbox, id string, from, to state.State, edit func(*state.Entry)) {
	t.Helper()
	_, err := l.Move(t.Context(), state.Key{Org: "acme", Inbox: inbox, Recording: id}, from, to, edit)
	must(t, err)
}

func archivedAt(at time.Time) func(*state.Entry) {
	return func(e *state.Entry) {
		e.Versions = append(e.Versions, state.Version{
			MediaKey: "m", ManifestKey: "n", Size: 1000, SHA256: strings.Repeat("a", 64), ArchivedAt: at, DateModified: e.DateModified})
	}
}

func failedSince(since time.Time, person bool, why string) func(*state.Entry) {
	return func(e *state.Entry) {
		e.Attempts, e.FailedSince, e.NextAttempt, e.NeedsPerson, e.LastError = 3, since, since.Add(time.Hour), person, why
	}
}

// sample is a ledger with something of everything.
func sample(t *testing.T) *bolt.Ledger {
	t.Helper()
	l := newLedger(t)
	listed(t, l, "u1", "arch-1", "arch-2", "arch-3", "fail-1", "fail-2", "wait-1", "van-1", "gone-1", "del-1", "waived-1", "expired-1")
	move(t, l, "u1", "arch-1", state.StateListed, state.StateArchived, archivedAt(now.Add(-time.Hour)))
	move(t, l, "u1", "arch-2", state.StateListed, state.StateArchived, archivedAt(now.Add(-48*time.Hour)))
	move(t, l, "u1", "arch-3", state.StateListed, state.StateArchived, func(e *state.Entry) {
		archivedAt(now)(e)
		e.Versions[0].Suspect = "too short"
	})
	move(t, l, "u1", "fail-1", state.StateListed, state.StateFailed, failedSince(now.Add(-time.Hour), false, "<b>no answer</b>"))
	move(t, l, "u1", "fail-2", state.StateListed, state.StateFailed, failedSince(now.Add(-time.Minute), true, "for a week"))
	move(t, l, "u1", "van-1", state.StateListed, state.StateVanished, nil)
	move(t, l, "u1", "gone-1", state.StateListed, state.StateArchived, archivedAt(now))
	move(t, l, "u1", "gone-1", state.StateArchived, state.StateGone, nil)
	move(t, l, "u1", "del-1", state.StateListed, state.StateArchived, archivedAt(now))
	move(t, l, "u1", "del-1", state.StateArchived, state.StateDeleteRequested, nil)
	move(t, l, "u1", "del-1", state.StateDeleteRequested, state.StateDeleted, nil)
	move(t, l, "u1", "waived-1", state.StateListed, state.StateWaived, state.Act{ID: "1", Kind: state.ActWaive, By: "ann", At: now, Reason: "lost"}.Do)
	move(t, l, "u1", "expired-1", state.StateListed, state.StateArchived, archivedAt(now))
	move(t, l, "u1", "expired-1", state.StateArchived, state.StateArchived, state.Act{ID: "2", Kind: state.ActExpire, By: "ann", At: now, Reason: "seven years"}.Do)
	move(t, l, "u1", "expired-1", state.StateArchived, state.StateExpired, nil)
	must(t, l.AddPass(t.Context(), "acme", "u1", state.Pass{Start: now.Add(-time.Hour), End: now, Findings: 2}, func(i *state.Inbox) {
		i.Name, i.Email, i.Condition = "Ada Lovelace", "ada@example.com", state.ConditionOK
		i.LastSuccess, i.OldestWaiting, i.NotBefore = now, now.Add(-24*time.Hour), time.Now().Add(time.Hour)
	}))
	must(t, l.EditInbox(t.Context(), "acme", "u2", func(i *state.Inbox) {
		i.Condition, i.Reason = state.ConditionNeedsLogin, "the refresh token is revoked"
	}))
	must(t, l.EditInbox(t.Context(), "acme", "u3", func(*state.Inbox) {}))
	must(t, l.AddRun(t.Context(), state.Run{Start: now.Add(-2 * time.Hour), End: now.Add(-time.Hour), Inboxes: 3, Archived: 5, ExitCode: 6}))
	return l
}

func TestLedgerMetrics(t *testing.T) {
	m := NewMetrics("v1")
	l := sample(t)
	m.AddLedger(l)
	want := `
# HELP archiverd_archived_recordings Recordings in the archive whose original archiverd has not deleted.
# TYPE archiverd_archived_recordings gauge
archiverd_archived_recordings{org="acme"} 4
# HELP archiverd_backlog_recordings Recordings that wait to be archived.
# TYPE archiverd_backlog_recordings gauge
archiverd_backlog_recordings{org="acme"} 1
# HELP archiverd_disposed_recordings Recordings that were removed from the archive, by an order or after their retention.
# TYPE archiverd_disposed_recordings gauge
archiverd_disposed_recordings{org="acme"} 1
# HELP archiverd_failed_recordings Recordings that could not be archived yet.
# TYPE archiverd_failed_recordings gauge
archiverd_failed_recordings{org="acme"} 2
# HELP archiverd_inboxes Inboxes by condition.
# TYPE archiverd_inboxes gauge
archiverd_inboxes{condition="failing",org="acme"} 0
archiverd_inboxes{condition="needs_login",org="acme"} 1
archiverd_inboxes{condition="new",org="acme"} 1
archiverd_inboxes{condition="ok",org="acme"} 1
archiverd_inboxes{condition="short",org="acme"} 0
# HELP archiverd_integrity_findings_total Objects in the archive that were not as they should be, counted in each pass that found them, since the ledger was made.
# TYPE archiverd_integrity_findings_total counter
archiverd_integrity_findings_total{org="acme"} 2
# HELP archiverd_last_success_timestamp_seconds When the last pass of any inbox that did not end early ended.
# TYPE archiverd_last_success_timestamp_seconds gauge
archiverd_last_success_timestamp_seconds{org="acme"} 1.7954352e+09
# HELP archiverd_media_bytes_total Bytes of media archived, since the ledger was made.
# TYPE archiverd_media_bytes_total counter
archiverd_media_bytes_total{org="acme"} 6000
# HELP archiverd_needs_person_recordings Failed recordings that need a person, because they have failed for too long.
# TYPE archiverd_needs_person_recordings gauge
archiverd_needs_person_recordings{org="acme"} 1
# HELP archiverd_oldest_unarchived_timestamp_seconds Creation time of the oldest recording that the last passes left unarchived. Absent if all were archived.
# TYPE archiverd_oldest_unarchived_timestamp_seconds gauge
archiverd_oldest_unarchived_timestamp_seconds{org="acme"} 1.7953488e+09
# HELP archiverd_rate_limited_inboxes Inboxes for which Genesys asked to wait before the next request.
# TYPE archiverd_rate_limited_inboxes gauge
archiverd_rate_limited_inboxes{org="acme"} 1
# HELP archiverd_recordings_total What happened to recordings, since the ledger was made: versions archived, attempts failed, originals vanished, gone and deleted.
# TYPE archiverd_recordings_total counter
archiverd_recordings_total{org="acme",result="archived"} 6
archiverd_recordings_total{org="acme",result="deleted"} 1
archiverd_recordings_total{org="acme",result="failed"} 2
archiverd_recordings_total{org="acme",result="gone"} 1
archiverd_recordings_total{org="acme",result="vanished"} 1
# HELP archiverd_waived_recordings Recordings that are not archived, which a person accepts.
# TYPE archiverd_waived_recordings gauge
archiverd_waived_recordings{org="acme"} 1
`
	var names []string
	for _, f := range regexp.MustCompile(`TYPE (\S+)`).FindAllStringSubmatch(want, -1) {
		names = append(names, f[1])
	}
	if err := testutil.GatherAndCompare(m.Registry, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
	problems, err := testutil.GatherAndLint(m.Registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("unconventional metrics: %v, %v", problems, err)
	}
}

// newSite serves a ledger as the service does.
func newSite(t *testing.T, l *bolt.Ledger, status service.Status, d archiver.Deletion, n *tally.Tally) http.Handler {
	t.Helper()
	m := NewMetrics("v1")
	m.AddLedger(l)
	state := func() service.Status { return status }
	m.AddSchedule(state)
	page := NewPage(PageOptions{
		Ledger: l, Version: "v1", Status: state, Progress: func() *tally.Tally { return n },
		Deletion: func() archiver.Deletion { return d }, Zone: func() *time.Location { return time.UTC },
	})
	s, err := Listen("127.0.0.1:0", Options{Metrics: m, Ready: Ready(l, state), Page: page, Pprof: true, Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	t.Cleanup(func() { s.listener.Close() })
	return s.handler
}

func get(h http.Handler, path string, edit ...func(*http.Request)) (int, http.Header, string) {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Host = "localhost:9817"
	for _, f := range edit {
		f(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Header(), w.Body.String()
}

// TestUnreadableLedger wants no numbers rather than wrong ones, and the process alive.
func TestUnreadableLedger(t *testing.T) {
	l := sample(t)
	h := newSite(t, l, service.Status{Next: time.Now().Add(time.Hour)}, archiver.Deletion{}, &tally.Tally{})
	must(t, l.Close())
	for path, want := range map[string]int{"/metrics": 500, "/readyz": 503, "/": 500, "/inboxes": 500, "/healthz": 200} {
		if code, _, body := get(h, path); code != want {
			t.Errorf("%s: %d %s, want %d", path, code, body, want)
		}
	}
}

func TestReady(t *testing.T) {
	l := newLedger(t)
	for name, tc := range map[string]struct {
		status service.Status
		want   int
	}{
		"waits":       {service.Status{Next: time.Now().Add(24 * time.Hour)}, 200},
		"is starting": {service.Status{Next: time.Now()}, 200},
		"runs":        {service.Status{Next: time.Now().Add(time.Minute), Running: now}, 200},
		"is stuck":    {service.Status{Next: time.Now().Add(-time.Hour)}, 503},
	} {
		if code, _, body := get(newSite(t, l, tc.status, archiver.Deletion{}, &tally.Tally{}), "/readyz"); code != tc.want {
			t.Errorf("a schedule that %s: %d %s", name, code, body)
		}
	}
}

// TestGuard wants nobody else's page to read ours.
func TestGuard(t *testing.T) {
	h := newSite(t, sample(t), service.Status{}, archiver.Deletion{}, &tally.Tally{})
	for _, path := range []string{"/", "/inboxes", "/metrics", "/healthz", "/page.css", "/page.js", "/debug/pprof/", "/none"} {
		code, header, _ := get(h, path, func(r *http.Request) { r.Header.Set("Origin", "https://attacker.example") })
		if (code == 200) != (path != "/none") {
			t.Errorf("%s: %d", path, code)
		}
		for name, want := range map[string]string{
			"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
			"Cross-Origin-Resource-Policy": "same-origin", "Access-Control-Allow-Origin": "",
		} {
			if have := header.Get(name); have != want {
				t.Errorf("%s: %s is %q, want %q", path, name, have, want)
			}
		}
		if !strings.HasPrefix(header.Get("Content-Security-Policy"), "default-src 'none';") {
			t.Errorf("%s: %s", path, header.Get("Content-Security-Policy"))
		}
		if code, _, _ := get(h, path, func(r *http.Request) { r.Host = "attacker.example:9817" }); code != 403 {
			t.Errorf("%s answers another name with %d", path, code)
		}
		if code, _, _ := get(h, path, func(r *http.Request) { r.Method = http.MethodPost }); code != 405 && path != "/none" {
			t.Errorf("POST %s: %d", path, code)
		}
	}
	everywhere := guard(&net.TCPAddr{IP: net.IPv4zero, Port: 9817}, slog.New(slog.DiscardHandler), h)
	if code, _, _ := get(everywhere, "/healthz", func(r *http.Request) { r.Host = "archiverd.monitoring.svc" }); code != 403 {
		t.Error("the inner guard is gone: this test proves nothing")
	}
	open := guard(&net.TCPAddr{IP: net.IPv4zero, Port: 9817}, slog.New(slog.DiscardHandler), http.NotFoundHandler())
	if code, _, _ := get(open, "/", func(r *http.Request) { r.Host = "archiverd.monitoring.svc" }); code != 404 {
		t.Errorf("a service that listens everywhere refuses a name: %d", code)
	}
}

// TestPanicIsAnAnswer wants a request that meets a fault of ours answered and told in the log.
func TestPanicIsAnAnswer(t *testing.T) {
	var log strings.Builder
	h := guard(&net.TCPAddr{IP: net.IPv4zero, Port: 9817}, slog.New(slog.NewTextHandler(&log, nil)), http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("at last") }))
	code, _, body := get(h, "/")
	if code != 500 || !strings.Contains(body, "its log says more") {
		t.Errorf("%d %q", code, body)
	}
	if !strings.Contains(log.String(), "at last") || !strings.Contains(log.String(), "watch_test.go") {
		t.Errorf("the log says %q", log.String())
	}
}

func TestPortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	_, err = Listen(l.Addr().String(), Options{Metrics: NewMetrics("v1")})
	if opErr, ok := errors.AsType[*net.OpError](err); !ok || !strings.Contains(err.Error(), "set another http.listen") {
		t.Errorf("%v, %v", opErr, err)
	}
}

var tag = regexp.MustCompile(`(?s)<head>.*</head>|<[^>]*>`)
