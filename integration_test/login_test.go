package integration_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
)

// newUsers makes an organization of users, each logged in and with n recordings.
func newUsers(t *testing.T, o genesystest.Options, n int, ids ...string) (*world, []*genesystest.Inbox) {
	t.Helper()
	w := newWorld(t, o)
	w.org["grant"] = "authorization_code"
	var inboxes []*genesystest.Inbox
	for _, id := range ids {
		inbox := w.cloud.AddUser(id, "User "+id, id+"@example.com")
		for k := range n {
			inbox.Add(genesystest.Recording{ID: id + "-" + recordingID(k)})
		}
		inboxes = append(inboxes, inbox)
	}
	w.login(state.Token{}, inboxes...)
	return w, inboxes
}

// login leaves in the ledger what a user's login does: the inbox, and the token, by
// default a fresh refresh token alone.
func (w *world) login(token state.Token, inboxes ...*genesystest.Inbox) {
	w.Helper()
	w.withLedger(func(l *bolt.Ledger) error {
		for _, in := range inboxes {
			t := token
			if t == (state.Token{}) {
				t.Refresh = in.IssueRefreshToken()
			}
			err := l.EditInbox(w.Context(), "acme", in.ID, func(i *state.Inbox) { i.Name, i.Email = in.Name, in.Email })
			if err != nil {
				return err
			}
			if err := l.Login(w.Context(), "acme", in.ID, t, nil); err != nil {
				return err
			}
		}
		return nil
	})
}

func (w *world) token(inbox *genesystest.Inbox) (t state.Token) {
	w.Helper()
	w.withLedger(func(l *bolt.Ledger) (err error) {
		t, err = l.Token(w.Context(), "acme", inbox.ID)
		return err
	})
	return t
}

// asked counts the requests of an operation, "" for all that show or touch recordings,
// with an inbox's token.
func (w *world) asked(inbox *genesystest.Inbox, op string) (n int) {
	for _, e := range w.cloud.Events() {
		if e.Inbox == inbox.ID && (e.Op == op || op == "" && strings.Contains(e.Op, "userrecording")) {
			n++
		}
	}
	return n
}

// TestRotation wants no refresh token used twice, however often tokens are renewed.
func TestRotation(t *testing.T) {
	t.Parallel()
	// Access tokens too short-lived to be used twice: every request needs a renewal.
	w, inboxes := newUsers(t, genesystest.Options{AccessTokenLife: 30 * time.Second}, 3, "anna", "ben", "cleo")
	w.once(0)
	w.wantArchived(all(inboxes[0]), all(inboxes[1]), all(inboxes[2]))
	first := w.token(inboxes[0])
	w.once(0) // with the tokens that the first run left
	for _, in := range inboxes {
		if n := w.asked(in, opToken); n < 5 {
			t.Errorf("inbox %s: %d renewals prove nothing", in.ID, n)
		}
	}
	if w.token(inboxes[0]) == first {
		t.Error("the second run kept no new refresh token")
	}
	w.noneSpent()
	for _, m := range w.archive().manifests {
		if m.User.Name != "User "+m.User.ID || m.User.Email != m.User.ID+"@example.com" {
			t.Errorf("%s has the user %v", m.key, m.User)
		}
	}
}

func (w *world) noneSpent() {
	w.Helper()
	for _, e := range w.cloud.Events() {
		if slices.Contains(e.Notes, "spent refresh token") {
			w.Errorf("a refresh token of %s was used twice", e.Inbox)
		}
	}
}

func TestRevokedMidRun(t *testing.T) {
	t.Parallel()
	w, inboxes := newUsers(t, genesystest.Options{}, 20, "anna", "ben")
	anna := inboxes[0]
	w.cloud.Inject(genesystest.Fault{Op: opTranscoding, Inbox: "anna", Skip: 5, Effect: genesystest.Effect{
		Name: "revoke", Before: func(http.ResponseWriter, *http.Request) bool {
			anna.RevokeAccess()
			return false
		}}})
	w.once(0)
	w.wantArchived(all(anna), all(inboxes[1]))
	for _, in := range inboxes {
		want := map[string]int{"anna": 2, "ben": 1}[in.ID] // the first use of the refresh token is one
		if n := w.asked(in, opToken); n != want {
			t.Errorf("inbox %s: %d renewals, want %d", in.ID, n, want)
		}
	}
	before := w.cloud.Requests(opToken)
	w.once(0)
	if n := w.cloud.Requests(opToken) - before; n != 0 {
		t.Errorf("the next start renewed %d tokens that were good", n)
	}
	w.noneSpent()
}

// TestNeedsLogin restores a token from before the last renewal, as from a backup.
func TestNeedsLogin(t *testing.T) {
	t.Parallel()
	w, inboxes := newUsers(t, genesystest.Options{}, 2, "anna", "ben")
	anna, ben := inboxes[0], inboxes[1]
	refused := state.Token{Refresh: "of another client"}
	w.once(0)
	anna.Add(genesystest.Recording{ID: "missed"})
	ben.Add(genesystest.Recording{ID: "new"})
	w.login(refused, anna)
	w.once(0)
	w.wantArchived(some(anna, "anna-r000", "anna-r001"), all(ben))
	w.wantCondition(anna, "needs_login")
	w.wantCondition(ben, "ok")
	if r := w.expect(0, "status"); !strings.Contains(r.stdout, "needs_login") {
		t.Errorf("status doesn't say it: %s", r)
	}
	w.expect(3, "run", "--once", "--strict")
	w.login(refused, ben)
	w.once(4)

	w.login(state.Token{}, anna, ben)
	w.once(0)
	w.wantCondition(anna, "ok")
	w.wantArchived(all(anna), all(ben))
}

func (w *world) wantCondition(inbox *genesystest.Inbox, want string) {
	w.Helper()
	w.withLedger(func(l *bolt.Ledger) error {
		i, err := l.Inbox(w.Context(), "acme", inbox.ID)
		if i.Condition != want {
			w.Errorf("inbox %s is %q (%s), want %q", inbox.ID, i.Condition, i.Reason, want)
		}
		return err
	})
}

// TestWrongUser wants an inbox left alone whose token turns out to be another user's.
func TestWrongUser(t *testing.T) {
	t.Parallel()
	w, inboxes := newUsers(t, genesystest.Options{}, 2, "anna", "ben")
	anna, ben := inboxes[0], inboxes[1]
	anna.AnswerMe("ben")
	w.deleting()
	w.once(3)
	if n := w.asked(anna, ""); n != 0 {
		t.Errorf("the token was used %d times for recordings", n)
	}
	w.wantArchived(some(ben, "ben-r000", "ben-r001"))
	w.expect(4, "run", "--once", "--inbox", "anna")
	if n := w.asked(anna, ""); n != 0 {
		t.Errorf("the token was used %d times for recordings", n)
	}
	if len(anna.IDs()) != 2 {
		t.Error("originals are gone")
	}
}

// TestUnknownUser wants no deletion where users/me does not say whose inbox it is.
func TestUnknownUser(t *testing.T) {
	t.Parallel()
	w, inboxes := newUsers(t, genesystest.Options{RefuseMe: true}, 3, "anna")
	w.deleting()
	w.once(0)
	w.wantArchived(all(inboxes[0]))
	w.wantState(state.StateArchived, inboxes[0])
	inboxes[0].Remove("anna-r000")
	w.once(0)
	w.once(0)
	w.wantState(state.StateArchived, inboxes[0]) // nor is anything called gone
	if n := w.cloud.Requests(opDelete); n != 0 {
		t.Errorf("%d deletions were asked for", n)
	}
	w.cloud.Configure(func(o *genesystest.Options) { o.RefuseMe = false })
	w.once(0)
	w.wantState(state.StateDeleteRequested, inboxes[0], "anna-r001", "anna-r002")
}
