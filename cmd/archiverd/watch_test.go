package main

import (
	"errors"
	"testing"

	"github.com/archiverd/archiverd/archiver"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/state"
)

// TestNewForPerson wants heartbeats if a person can do nothing, or already knows.
func TestNewForPerson(t *testing.T) {
	login := &genesys.Error{Op: "oauth_token", Status: 400, Err: genesys.ErrNeedsLogin}
	down := &genesys.Error{Op: "get_userrecordings", Status: 503, Parsed: true, Err: errors.New("down")}
	broken := errors.New("recordings are listed without an id")
	for name, tc := range map[string]struct {
		was     string // the inbox's condition before
		person  int64  // recordings that needed a person before
		now     archiver.InboxReport
		failing failures
		beats   bool
	}{
		"all is well":                       {"ok", 0, archiver.InboxReport{}, failures{}, true},
		"its first pass":                    {"", 0, archiver.InboxReport{}, failures{}, true},
		"a recording is tried again":        {"ok", 0, archiver.InboxReport{}, failures{news: 1}, true},
		"a recording needs a person, known": {"ok", 1, archiver.InboxReport{}, failures{needPerson: 1}, true},
		"a recording needs a person, new":   {"ok", 1, archiver.InboxReport{}, failures{needPerson: 2}, false},
		"a recording vanished":              {"ok", 0, archiver.InboxReport{Pass: state.Pass{Vanished: 1}}, failures{}, false},
		"a finding":                         {"ok", 0, archiver.InboxReport{Pass: state.Pass{Findings: 1}}, failures{}, false},
		"a login is needed, known":          {archiver.ConditionNeedsLogin, 0, archiver.InboxReport{Err: login}, failures{}, true},
		"a login is needed, new":            {"ok", 0, archiver.InboxReport{Err: login}, failures{}, false},
		"an inbox fails, known":             {archiver.ConditionFailing, 0, archiver.InboxReport{Err: broken}, failures{}, true},
		"an inbox fails, new":               {"ok", 0, archiver.InboxReport{Err: broken}, failures{}, false},
		"an inbox is short, known":          {archiver.ConditionShort, 0, archiver.InboxReport{Short: "few"}, failures{}, true},
		"an inbox is short, new":            {"ok", 0, archiver.InboxReport{Short: "few"}, failures{}, false},
		"Genesys is down":                   {archiver.ConditionFailing, 0, archiver.InboxReport{Err: down}, failures{}, false},
		"it was stopped":                    {"ok", 0, archiver.InboxReport{Err: archiver.ErrStopped}, failures{}, false},
	} {
		tc.now.Org, tc.now.Inbox = "acme", "u1"
		well := archiver.InboxReport{Org: "acme", Inbox: "u2"}
		before := map[[2]string]state.Inbox{{"acme", "u1"}: {Condition: tc.was, NeedsPerson: tc.person}}
		why := newForPerson(&archiver.Report{Inboxes: []archiver.InboxReport{tc.now, well}}, before, []failures{tc.failing, {}})
		if (why == "") != tc.beats {
			t.Errorf("%s: %q", name, why)
		}
		alone := newForPerson(&archiver.Report{Inboxes: []archiver.InboxReport{tc.now}}, before, []failures{tc.failing})
		if tc.now.Err != nil && alone == "" {
			t.Errorf("%s, and no inbox could be archived, but the heart beats", name)
		}
	}
	if why := newForPerson(&archiver.Report{}, nil, nil); why != "" {
		t.Errorf("no inboxes: %q", why)
	}
}
