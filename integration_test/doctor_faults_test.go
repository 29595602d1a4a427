package integration_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
	"github.com/archiverd/archiverd/storage/storagetest"
)

// ailment is one thing that is wrong, and what the doctor has to say of it.
type ailment struct {
	name  string
	cause func(w *world)
	code  int
	want  map[string]string // beside what is healthy
}

// without is a result of a check that can't be made any more.
const without = ""

// answers puts a reply of its own in the store's place, for requests that match.
func (w *world) answers(match func(*http.Request) bool, status int, body string) {
	w.between(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if !match(r) {
				next.ServeHTTP(rw, r)
				return
			}
			rw.WriteHeader(status)
			_, _ = io.WriteString(rw, body)
		})
	})
}

func asks(setting string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == http.MethodGet && r.URL.Query().Has(setting) }
}

const denied = `<Error><Code>AccessDenied</Code><Message>no</Message></Error>`

// changes edits the header of the store's replies.
func (w *world) changes(edit func(*http.Request, http.Header)) {
	w.between(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			reply := httptest.NewRecorder()
			next.ServeHTTP(reply, r)
			edit(r, reply.Header())
			for k, v := range reply.Header() {
				rw.Header()[k] = v
			}
			rw.WriteHeader(reply.Code)
			_, _ = rw.Write(reply.Body.Bytes())
		})
	})
}

// rules answers the question for lifecycle rules.
func (w *world) rules(rules ...string) {
	w.answers(asks("lifecycle"), http.StatusOK, "<LifecycleConfiguration>"+strings.Join(rules, "")+"</LifecycleConfiguration>")
}

func rule(prefix, what string) string {
	return fmt.Sprintf("<Rule><ID>r</ID><Status>Enabled</Status><Filter><Prefix>%s</Prefix></Filter>%s</Rule>", prefix, what)
}

const (
	expire30   = "<Expiration><Days>30</Days></Expiration>"
	abortParts = "<AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>"
)

var storeAilments = []ailment{
	{"bucket missing", func(w *world) { w.bucket = "no-such-bucket" }, 2, nil},
	{"store away", func(w *world) { w.endpoint = "http://127.0.0.1:1" }, 5, nil},
	{"secret wrong", func(w *world) { w.editStorage("secret_access_key", "wrong-secret-key") }, 2, nil},
	{"store's clock off", func(w *world) {
		w.changes(func(_ *http.Request, h http.Header) {
			h.Set("Date", time.Now().Add(-10*time.Minute).UTC().Format(http.TimeFormat))
		})
	}, 2, map[string]string{"store.clock": "fail"}},
	{"versions not kept", func(w *world) { w.bucket = w.s3.NewBucket(w, false) }, 0, map[string]string{"store.versioning": "warn", "store.hold": "unchecked"}},
	{"bucket without lock", func(w *world) { w.bucket = w.s3.NewBucket(w, false); w.lockedAs("compliance") }, 2,
		map[string]string{"store.versioning": "fail", "store.lock": "fail", "store.hold": "unchecked"}},
	{"encryption lacks", func(w *world) {
		w.changes(func(r *http.Request, h http.Header) { h.Del("X-Amz-Server-Side-Encryption") })
		section := w.storageSection()
		section["encryption"] = map[string]any{"mode": "AES256"}
		w.config["storage"] = section
	}, 2, nil},
	{"rule would expire the archive", func(w *world) { w.rules(rule("", expire30)) }, 6, map[string]string{"store.lifecycle": "fail"}},
	{"rule would expire a part of it", func(w *world) { w.rules(rule("genesys/media/org=acme/", expire30)) }, 6, map[string]string{"store.lifecycle": "fail"}},
	{"rule on a date", func(w *world) { w.rules(rule("gen", "<Expiration><Date>2030-01-01T00:00:00Z</Date></Expiration>")) }, 6,
		map[string]string{"store.lifecycle": "fail"}},
	{"rules that do no harm", func(w *world) {
		w.rules(rule("other/", expire30), rule("genesys/doctor/", expire30), rule("genesys/", abortParts),
			rule("genesys/", "<Expiration><Days>2600</Days></Expiration>"), // retain_for is 7y
			rule("", "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>"),
			rule("", "<Transition><Days>1</Days><StorageClass>STANDARD_IA</StorageClass></Transition>"))
	}, 0, map[string]string{"store.unfinished_uploads": "pass"}},
	{"rule would lose hidden versions", func(w *world) {
		w.rules(rule("genesys/", "<NoncurrentVersionExpiration><NoncurrentDays>30</NoncurrentDays></NoncurrentVersionExpiration>"))
	}, 0, map[string]string{"store.lifecycle": "warn"}},
	{"rule would freeze", func(w *world) {
		w.rules(rule("genesys/", "<Transition><Days>1</Days><StorageClass>DEEP_ARCHIVE</StorageClass></Transition>"))
	}, 0, map[string]string{"store.lifecycle": "warn"}},
	{"rules can't be seen", func(w *world) { w.answers(asks("lifecycle"), http.StatusForbidden, denied) }, 0,
		map[string]string{"store.lifecycle": "warn"}},
	{"versioning can't be seen", func(w *world) { w.answers(asks("versioning"), http.StatusForbidden, denied) }, 0,
		map[string]string{"store.versioning": "warn"}},
	{"hold ignored", func(w *world) {
		w.answers(func(r *http.Request) bool { return r.URL.Query().Has("legal-hold") && r.Method == http.MethodPut }, http.StatusOK, "")
	}, 6, map[string]string{"store.hold": "fail"}},
	{"hold not allowed", func(w *world) { w.answers(asks("legal-hold"), http.StatusForbidden, denied) }, 0,
		map[string]string{"store.hold": "warn"}},
	{"deletion not allowed", func(w *world) {
		w.answers(func(r *http.Request) bool { return r.Method == http.MethodDelete }, http.StatusForbidden, denied)
	}, 0, map[string]string{"store.delete_right": "pass"}},
	{"deletion in doubt", func(w *world) {
		w.answers(func(r *http.Request) bool { return r.Method == http.MethodDelete }, http.StatusBadRequest, "")
	}, 0, map[string]string{"store.delete_right": "warn"}},
	{"no date shown", func(w *world) {
		w.changes(func(_ *http.Request, h http.Header) { h["Date"] = nil })
	}, 0, map[string]string{"store.clock": "warn"}},
	{"checksums not shown", func(w *world) {
		w.changes(func(_ *http.Request, h http.Header) { h.Del("X-Amz-Checksum-Sha256") })
	}, 0, map[string]string{"store.checksum": "warn"}},
	{"lock not shown, right lacking", func(w *world) {
		w.between(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if asks("retention")(r) {
					rw.WriteHeader(http.StatusForbidden)
					_, _ = io.WriteString(rw, denied)
					return
				}
				next.ServeHTTP(hideLock{rw}, r)
			})
		})
		w.lockedAs("compliance")
	}, 2, map[string]string{"store.lock": "fail"}},
	{"lock shown by itself alone", func(w *world) {
		w.between(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { next.ServeHTTP(hideLock{rw}, r) })
		})
		w.lockedAs("compliance")
	}, 2, map[string]string{"store.lock": "fail"}},
	{"lock can be shortened", func(w *world) {
		w.changesLocks()
		w.lockedAs("compliance")
	}, 6, map[string]string{"store.lock": "fail"}},
}

// hideLock leaves out of a reply what it says of a lock.
type hideLock struct{ http.ResponseWriter }

func (h hideLock) WriteHeader(code int) {
	for _, name := range []string{"X-Amz-Object-Lock-Mode", "X-Amz-Object-Lock-Retain-Until-Date"} {
		h.Header().Del(name)
	}
	h.ResponseWriter.WriteHeader(code)
}

// changesLocks takes any new lock for the one there is, whether it is longer or not.
func (w *world) changesLocks() {
	var shown atomic.Value
	w.between(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			switch {
			case r.Method == http.MethodPut && r.URL.Query().Has("retention"):
				body, _ := io.ReadAll(r.Body)
				shown.Store(body)
			case asks("retention")(r) && shown.Load() != nil:
				_, _ = rw.Write(shown.Load().([]byte))
			default:
				next.ServeHTTP(rw, r)
			}
		})
	})
}

var genesysAilments = []ailment{
	{"Genesys away", func(w *world) { w.org["api_url"] = "http://127.0.0.1:1" }, 5, map[string]string{"genesys.token": "fail"}},
	{"client's secret wrong", func(w *world) { w.org["client_secret"] = "another" }, 4, map[string]string{"genesys.token": "fail"}},
	{"clock off", func(w *world) {
		w.cloud.Configure(func(o *genesystest.Options) { o.DateSkew = 10 * time.Minute })
	}, 2, map[string]string{"genesys.clock": "fail"}},
	{"scope read-only", func(w *world) {
		w.cloud.Configure(func(o *genesystest.Options) { o.Scopes = []string{"user-recordings:readonly"} })
	}, 4, map[string]string{"genesys.delete": "fail"}},
	{"scope read-only suffices", func(w *world) {
		w.cloud.Configure(func(o *genesystest.Options) { o.Scopes = []string{"user-recordings:readonly"} })
		delete(w.config, "delete_originals")
	}, 0, map[string]string{"genesys.delete": "unchecked"}},
	{"no scope", func(w *world) {
		w.cloud.Configure(func(o *genesystest.Options) { o.Scopes = []string{"users:readonly"} })
	}, 4, map[string]string{"genesys.read": "fail", "genesys.delete": without}},
	{"client sees nothing", func(w *world) {
		w.cloud.Configure(func(o *genesystest.Options) { o.RefuseClient = true })
	}, 4, map[string]string{"genesys.read": "fail", "genesys.delete": without}},
	{"limited for long", func(w *world) {
		w.cloud.Inject(genesystest.Fault{Op: "get_userrecordings_summary", Effect: genesystest.RetryAfter(429, 3600)})
	}, 5, map[string]string{"genesys.read": "fail", "genesys.delete": without}},
	{"limit unknown", func(*world) {}, 0, nil},
}

var otherAilments = []ailment{
	{"configuration faulty", func(w *world) { w.org["format"] = "FLAC"; w.org["page_size"] = 0 }, 2, nil},
	{"CA file holds none", func(w *world) {
		w.config["network"] = map[string]any{"ca_file": w.configPath()}
	}, 2, nil},
	{"ledger readable by others", func(w *world) { w.once(0); w.chmod(0o644) }, 2, map[string]string{"ledger.file": "fail", "ledger.content": "pass"}},
	{"ledger no ledger", func(w *world) {
		w.writeLedger(strings.Repeat("no ledger", 1000))
		w.Cleanup(w.removeLedger) // before the world's own check
	}, 6, map[string]string{"ledger.content": "fail"}},
	{"ledger of another archive", func(w *world) {
		w.once(0)
		its := w.bucket
		w.bucket = w.s3.NewBucket(w, true)
		w.Cleanup(func() { w.bucket = its })
	}, 2, map[string]string{"ledger.content": "fail"}},
	{"ledger's directory misspelt", func(w *world) {
		w.config["state"] = map[string]any{"path": w.dir + "/mis/spelt/archiverd.db"}
	}, 2, nil},
	{"ledger in memory", func(w *world) {
		dir, err := os.MkdirTemp("/dev/shm", "archiverd")
		if err != nil {
			w.Fatal(err)
		}
		w.Cleanup(func() { os.RemoveAll(dir) })
		w.config["state"] = map[string]any{"path": dir + "/archiverd.db"}
	}, 2, nil},
}

func (w *world) chmod(mode os.FileMode) {
	w.Helper()
	if err := os.Chmod(w.ledgerPath(), mode); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = os.Chmod(w.ledgerPath(), 0o600) }) // as the world's own check wants it
}

// TestDoctorFinds wants every ailment found, named and remedied, and nothing else
// called ill. Of those without expected results the exit code is enough: what follows
// can't be looked at.
func TestDoctorFinds(t *testing.T) {
	t.Parallel()
	server := storagetest.MinIO(t)
	for _, ailments := range [][]ailment{storeAilments, genesysAilments, otherAilments} {
		for _, a := range ailments {
			t.Run(a.name, func(t *testing.T) {
				t.Parallel()
				w := newWorldOn(t, server, genesystest.Options{})
				w.deleting()
				w.spared(w.cloud.ClientInbox())
				a.cause(w)
				found := w.doctor(a.code)
				if a.want == nil {
					if bad := failures(found); (bad == nil) != (a.code == 0) {
						t.Errorf("failures: %v", bad)
					}
					return
				}
				want := healthy(map[string]string{"ledger.content": "unchecked", "store.lock": "unchecked"})
				for name, result := range a.want {
					want[name] = result
					if result == without {
						delete(want, name)
					}
				}
				if want["genesys.token"] == "fail" {
					for _, name := range []string{"genesys.user", "genesys.read", "genesys.delete", "genesys.clock", "genesys.rate_limit"} {
						delete(want, name)
					}
				}
				w.wantFound(found, want)
			})
		}
	}
}

func failures(found map[string]finding) (bad []finding) {
	for _, f := range found {
		if f.Result == "fail" {
			bad = append(bad, f)
		}
	}
	return bad
}

// TestDoctorFailsFake wants the store that believes anything found out: it echoes
// checksums and locks, and heeds neither.
func TestDoctorFailsFake(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	w.lockedAs("governance")
	found := w.doctor(6)
	for name, want := range map[string]string{"store.create_only": "fail", "store.checksum": "warn", "store.lock": "fail", "store.lifecycle": "warn"} {
		if found[name].Result != want {
			t.Errorf("want %s: %+v", want, found[name])
		}
	}
}

// TestDoctorUsers wants each user's token told apart, and none spent.
func TestDoctorUsers(t *testing.T) {
	t.Parallel()
	w, inboxes := newUsers(t, genesystest.Options{}, 1, "anna", "ben", "cleo", "dora")
	anna, ben, cleo, dora := inboxes[0], inboxes[1], inboxes[2], inboxes[3]
	w.once(0)
	w.login(state.Token{Access: "old", Refresh: "r", Expiry: time.Now().Add(-time.Hour)}, ben)
	cleo.RevokeAccess()
	dora.AnswerMe("emma")
	before := w.token(anna)
	renewals := len(w.cloud.Events())
	found := w.doctor(6) // the store's fault
	for name, want := range map[string]string{
		"genesys.token acme/anna": "pass", "genesys.user acme/anna": "pass", "genesys.delete acme/anna": "unchecked",
		"genesys.token acme/ben": "warn", "genesys.token acme/cleo": "warn",
		"genesys.token acme/dora": "pass", "genesys.user acme/dora": "fail",
	} {
		if found[name].Result != want {
			t.Errorf("%s: want %s: %+v", name, want, found[name])
		}
	}
	for _, e := range w.cloud.Events()[renewals:] {
		if e.Op == opToken {
			t.Error("the doctor renewed a token")
		}
	}
	if w.token(anna) != before {
		t.Error("the doctor changed a token in the ledger")
	}
}

// TestDoctorBesideService wants the doctor's word while the service holds the ledger,
// and while a single run does.
func TestDoctorBesideService(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, storagetest.Versitygw(t), genesystest.Options{})
	w.daily()
	fill(w.cloud.ClientInbox(), 1)
	p := w.serve()
	want := healthy(map[string]string{"store.lock": "unchecked", "store.lifecycle": "warn", "store.unfinished_uploads": "pass", "genesys.delete": "unchecked"})
	w.wantFound(w.doctor(0), want)
	w.ends(p)
	w.wantFound(w.doctor(0, "--org", "acme"), want)
	w.expect(2, "doctor", "--org", "nobody")
	w.withLedger(func(*bolt.Ledger) error { // held, and nobody answers
		want["ledger.content"] = "warn"
		w.wantFound(w.doctor(0), want)
		return nil
	})
}
