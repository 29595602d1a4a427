package doctor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/genesys"
)

// Inbox is an inbox to test. API must not renew a user's token: a renewal spends the refresh
// token, and only a run may do that.
type Inbox struct {
	Org, ID   string
	API       examinedAPI
	Identity  identity // nil for the client's own inbox
	NoToken   string   // why there is no token to test, or ""
	Remedy    string   // what to do about NoToken
	PerMinute int      // requests configured for the token
	Trouble   string   // why the last pass left the inbox failing or short, or ""
}

// identity says which user a token belongs to.
type identity interface {
	Me(ctx context.Context, expand ...string) (*genesys.User, error)
}

type examinedAPI interface {
	Recordings(ctx context.Context, p genesys.ListParams) (*genesys.Listing, error)
	Summary(ctx context.Context) (*genesys.Summary, error)
	DeleteRecording(ctx context.Context, id string) error
	Skew() (time.Duration, bool)
	Allowed() int // requests a minute that Genesys allows; 0: it did not say
}

// Inbox tests one inbox's token. It reads the inbox's summary and listing. If originals are
// to be deleted, it sends one DELETE for a random recording id, which cannot exist.
func (d *Doctor) Inbox(ctx context.Context, p Inbox) []Check {
	f := &findings{about: p.Org + "/" + p.ID}
	if p.NoToken != "" {
		f.warn("genesys.token", p.Remedy, "%s", p.NoToken)
		return f.list
	}
	err := d.reads(ctx, p)
	if errors.Is(err, genesys.ErrNeedsLogin) { // only the next run may spend the refresh token
		f.warn("genesys.token", "run archiverd run --once: it renews the token, or says that the user has to log in", "the access token in the ledger is not accepted any more")
		return f.list
	}
	if tokenFailed(err) {
		f.fail("genesys.token", failKind(err), genesysRemedy(err), "%v", err)
		return f.list
	}
	if e := genesys.AsError(err); err != nil && (e == nil || e.Status == 0) {
		f.fail("genesys.token", failure.KindTemporary, genesysRemedy(err), "could not be determined: %v", err)
		return f.list
	}
	f.pass("genesys.token", "accepted")
	d.user(ctx, f, p)
	if err != nil {
		f.fail("genesys.read", failKind(err), genesysRemedy(err), "the inbox can't be listed: %v", err)
	} else {
		f.pass("genesys.read", "the inbox can be listed")
		if p.Trouble != "" {
			f.warn("genesys.listing", "see the runbook of this condition in docs/operate.md; the next run looks again", "the last pass: %s", p.Trouble)
		}
		d.deletes(ctx, f, p)
	}
	f.clock("genesys.clock", "Genesys", p.API.Skew)
	f.rateLimit(p)
	return f.list
}

func (d *Doctor) reads(ctx context.Context, p Inbox) error {
	if _, err := p.API.Summary(ctx); err != nil {
		return err
	}
	_, err := p.API.Recordings(ctx, genesys.ListParams{PageSize: 1, PageNumber: 1})
	return err
}

// tokenFailed reports whether the error is about the token itself, not about the request that
// used it.
func tokenFailed(err error) bool {
	return genesys.AsError(err).OfToken() || genesys.AsError(err).Unauthorized() || errors.Is(err, genesys.ErrWrongUser)
}

// user checks that the token belongs to the inbox's user. If Genesys does not say whose token
// it is, archiverd never deletes anything from the inbox.
func (d *Doctor) user(ctx context.Context, f *findings, p Inbox) {
	const name = "genesys.user"
	if p.Identity == nil {
		f.unchecked(name, "client credentials belong to no user: this inbox is the client's own")
		return
	}
	switch u, err := p.Identity.Me(ctx); {
	case err == nil && u.ID == p.ID:
		f.pass(name, "the token is this user's")
	case err == nil:
		f.fail(name, failure.KindRefused, "have the inbox's own user log in: archiverd login", "the token is that of user %s", u.ID)
	case genesys.AsError(err).Forbidden():
		f.warn(name, "give the OAuth client the scope users:readonly: without it recordings are archived, but none is deleted or called vanished", "Genesys does not say whose token it is: %v", err)
	default:
		f.fail(name, failKind(err), genesysRemedy(err), "whose token it is could not be determined: %v", err)
	}
}

// deletes checks whether Genesys would accept a deletion, by its reply to the DELETE of a
// recording that cannot exist.
func (d *Doctor) deletes(ctx context.Context, f *findings, p Inbox) {
	const name = "genesys.delete"
	if !d.Deleting {
		f.unchecked(name, "originals are not to be deleted, so the scope user-recordings:readonly is enough")
		return
	}
	err := p.API.DeleteRecording(ctx, randomID())
	e := genesys.AsError(err)
	switch {
	case err == nil, e.NotFound(), e != nil && e.Status == http.StatusBadRequest:
		f.pass(name, "a deletion would be accepted")
	case e.Forbidden():
		f.fail(name, failure.KindClientRefused, "give the OAuth client the scope user-recordings instead of user-recordings:readonly, or set delete_originals.enabled to false", "deletions are refused: %v", err)
	default:
		f.fail(name, failKind(err), genesysRemedy(err), "could not be determined: %v", err)
	}
}

// randomID returns a random UUID, in the form of Genesys' recording ids.
func randomID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func (f *findings) rateLimit(p Inbox) {
	const name = "genesys.rate_limit"
	switch allowed := p.API.Allowed(); {
	case allowed == 0:
		f.unchecked(name, "Genesys' replies name no limit; requests_per_minute is %d", p.PerMinute)
	case allowed < p.PerMinute:
		f.warn(name, fmt.Sprintf("set requests_per_minute to %d or less", allowed), "Genesys allows %d requests a minute, requests_per_minute is %d", allowed, p.PerMinute)
	default:
		f.pass(name, "Genesys allows %d requests a minute, requests_per_minute is %d", allowed, p.PerMinute)
	}
}

// genesysRemedy says what to do about an error of Genesys.
func genesysRemedy(err error) string {
	e := genesys.AsError(err)
	_, limited := errors.AsType[*genesys.LimitedError](err)
	switch {
	case limited:
		return "wait until then: another program may be using the same limit; if the time can't be right, archiverd retry --ask-anyway sends requests at once"
	case errors.Is(err, genesys.ErrWrongUser):
		return "have the inbox's own user log in: archiverd login"
	case errors.Is(err, genesys.ErrNeedsLogin):
		return "have the user log in: archiverd login"
	case e != nil && e.Code == "ip.not.authorized":
		return "allow this machine's address in the organization's network settings"
	case e.OfClient():
		return "check client_id, its secret, its grant and its scopes: user-recordings, or user-recordings:readonly where nothing is deleted, and users:readonly"
	case e.Unauthorized():
		return "have the user log in: archiverd login; if the organization uses client credentials, check the client's roles"
	case e.Forbidden():
		return "only its user may read a user recording: use grant authorization_code, or check the client's scopes and roles"
	case e.Temporary():
		return "see that api_url and login_url can be reached from here, then run archiverd doctor again"
	}
	return "compare domain, api_url and login_url with the organization; if they are right, give Genesys' support the correlation id"
}
