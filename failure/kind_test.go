package failure

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// What an error means does not depend on what wraps it. archiverd's exit codes follow from
// the kind.
func TestWhatErrorsMean(t *testing.T) {
	const retried, final = true, false
	const nothing, pass, run = "nothing", "pass", "run"
	reply := func(op string, status int, code string) error {
		return &genesys.Error{Op: op, Status: status, Code: code}
	}
	away := &storage.Error{Op: "put", Status: 503, Err: errors.New("x")}
	for _, c := range []struct {
		err     error
		kind    Kind
		retried bool
		ends    string
	}{
		{nil, KindNone, final, nothing},
		{errors.New("x"), KindFailed, final, nothing},
		{reply(opGet, 404, ""), KindFailed, final, nothing},
		{ErrWholeInbox, KindFailed, final, pass},
		{genesys.ErrTokenCommand, KindFailed, final, pass},
		{genesys.ErrNeedsLogin, KindNeedsLogin, final, pass},
		{genesys.ErrWrongUser, KindRefused, final, pass},
		{reply(opGet, 401, ""), KindRefused, final, pass},
		{reply(opGet, 403, ""), KindRefused, final, nothing}, // this recording's alone
		{errors.Join(reply(opList, 403, ""), ErrPartial), KindFailed, final, nothing},
		{reply("oauth_token", 401, ""), KindClientRefused, final, pass},
		{reply(opList, 403, "app.not.authorized.for.scope"), KindClientRefused, final, pass},
		{reply(opList, 503, ""), KindTemporary, retried, nothing},
		{reply(opList, 0, ""), KindTemporary, retried, nothing},
		{away, KindTemporary, retried, nothing},
		{&DownError{reply(opGet, 503, "")}, KindTemporary, retried, nothing},
		{&DownError{away}, KindTemporary, retried, run},
		{&genesys.LimitedError{}, KindTemporary, final, pass},
		{state.ErrClaimed, KindTemporary, final, nothing},
		{&genesys.Error{Op: "oauth_token", Err: errors.Join(genesys.ErrTokenClaimed, state.ErrClaimed)}, KindTemporary, final, nothing},
		{state.ErrClaimLost, KindTemporary, final, pass},
		{ErrStopped, KindStopped, final, pass},
		{&genesys.Error{Op: "oauth_token", Err: context.Canceled}, KindStopped, final, nothing},
		{ErrCorrupt, KindIntegrity, final, nothing},
		{ErrNotLocked, KindConfiguration, final, run},
		{storage.ErrAccess, KindConfiguration, final, run},
		{storage.ErrNoBucket, KindConfiguration, final, run},
		{storage.ErrChecksumHeader, KindConfiguration, final, run},
		{OfLedger(errors.New("x")), KindLedger, final, run},
		{OfLedger(context.Canceled), KindStopped, final, nothing},
	} {
		for _, err := range []error{c.err, fmt.Errorf("wrapped: %w", c.err), errors.Join(c.err, nil)} {
			if c.err == nil {
				err = nil
			}
			ends := nothing
			if EndsRun(err) {
				ends = run
			} else if EndsPass(err) {
				ends = pass
			}
			if kind := KindOf(err); kind != c.kind || Temporary(err) != c.retried || ends != c.ends {
				t.Errorf("%v: kind %d, temporary %v, ends the %s; want %d, %v, %s", err, kind, Temporary(err), ends, c.kind, c.retried, c.ends)
			}
		}
	}
}
