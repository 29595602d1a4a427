package fleet

import (
	"errors"
	"testing"

	"github.com/archiverd/archiverd/archiver"
	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/state"
)

// TestNeedsAttention wants the heartbeat to go on where a person can do nothing, or knows.
func TestNeedsAttention(t *testing.T) {
	login := &genesys.Error{Op: "oauth_token", Status: 400, Err: genesys.ErrNeedsLogin}
	down := &genesys.Error{Op: "get_userrecordings", Status: 503, Parsed: true, Err: errors.New("down")}
	broken := errors.New("recordings are listed without an id")
	for name, tc := range map[string]struct {
		was     string // the inbox's condition before
		person  int64  // recordings that needed a person before
		now     archiver.InboxReport
		failing Failures
		beats   bool
	}{
		"all is well":                       {"ok", 0, archiver.InboxReport{}, Failures{}, true},
		"its first pass":                    {"", 0, archiver.InboxReport{}, Failures{}, true},
		"a recording is tried again":        {"ok", 0, archiver.InboxReport{}, Failures{Recent: 1}, true},
		"a recording needs a person, known": {"ok", 1, archiver.InboxReport{}, Failures{NeedPerson: 1}, true},
		"a recording needs a person, new":   {"ok", 1, archiver.InboxReport{}, Failures{NeedPerson: 2}, false},
		"a recording vanished":              {"ok", 0, archiver.InboxReport{Pass: state.Pass{Vanished: 1}}, Failures{}, false},
		"a finding":                         {"ok", 0, archiver.InboxReport{Pass: state.Pass{Findings: 1}}, Failures{}, false},
		"a login is needed, known":          {state.ConditionNeedsLogin, 0, archiver.InboxReport{Err: login}, Failures{}, true},
		"a login is needed, new":            {"ok", 0, archiver.InboxReport{Err: login}, Failures{}, false},
		"an inbox fails, known":             {state.ConditionFailing, 0, archiver.InboxReport{Err: broken}, Failures{}, true},
		"an inbox fails, new":               {"ok", 0, archiver.InboxReport{Err: broken}, Failures{}, false},
		"an inbox is short, known":          {state.ConditionShort, 0, archiver.InboxReport{Short: "few"}, Failures{}, true},
		"an inbox is short, new":            {"ok", 0, archiver.InboxReport{Short: "few"}, Failures{}, false},
		"Genesys is down":                   {state.ConditionFailing, 0, archiver.InboxReport{Err: down}, Failures{}, false},
		"it was stopped":                    {"ok", 0, archiver.InboxReport{Err: failure.ErrStopped}, Failures{}, false},
	} {
		tc.now.Org, tc.now.Inbox = "acme", "u1"
		well := archiver.InboxReport{Org: "acme", Inbox: "u2"}
		before := map[inboxKey]state.Inbox{{"acme", "u1"}: {Condition: tc.was, NeedsPerson: tc.person}}
		why := needsAttention(result(tc.failing, tc.now, well), before)
		if (why == "") != tc.beats {
			t.Errorf("%s: %q", name, why)
		}
		alone := needsAttention(result(tc.failing, tc.now), before)
		if tc.now.Err != nil && alone == "" {
			t.Errorf("%s, and no inbox could be archived, but the heart beats", name)
		}
	}
	if why := needsAttention(result(Failures{}), nil); why != "" {
		t.Errorf("no inboxes: %q", why)
	}
}

// result is that of a run, with the failures of its first inbox.
func result(first Failures, inboxes ...archiver.InboxReport) *Result {
	r := &Result{Report: &archiver.Report{Inboxes: inboxes}, Failures: make([]Failures, len(inboxes))}
	if len(inboxes) > 0 {
		r.Failures[0] = first
	}
	return r
}
