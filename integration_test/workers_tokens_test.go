package integration_test

import (
	"strings"
	"testing"
	"time"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/postgres"
	"github.com/archiverd/archiverd/state/postgres/postgrestest"
)

const (
	waitsForToken = "waiting for the process that has the inbox to do so"
	hasInbox      = "another process has the inbox"
)

// TestWorkersRenewOnce has a worker and a command meet at a token that has expired: one of
// them renews it, the other waits and uses what the first has saved, whoever comes first.
func TestWorkersRenewOnce(t *testing.T) {
	for command, workerFirst := range map[string]bool{"reconcile": true, "run --once --dry-run": false} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			m := newTeam(t, genesystest.Options{}, 1, 3)
			m.logIn(0)
			m.cloud.Inject(genesystest.Fault{Op: opToken, Effect: m.cloud.Stall()})
			var worker, asked *process
			if workerFirst {
				worker = m.start("run")
				m.await(opToken, 1)
				asked = m.start(strings.Fields(command)...)
				m.awaitLog(asked, waitsForToken, 1)
			} else {
				asked = m.start(strings.Fields(command)...)
				m.await(opToken, 1)
				worker = m.start("run")
				m.awaitLog(worker, hasInbox, 1)
			}
			m.cloud.Release()
			m.awaitRuns(1)
			if r := asked.wait(); r.code != 0 && r.code != 3 { // reconcile may find what the worker has not archived yet
				t.Errorf("%s ended with %s", command, r)
			}
			m.leaves(worker)
			m.wantAllOnce()
			if n := m.cloud.Requests(opToken); n != 1 {
				t.Errorf("the token was renewed %d times", n)
			}
			m.noneSpent()
			m.withDatabase(func(l *postgres.Ledger) {
				in, err := l.Inbox(t.Context(), "acme", m.inboxes[0].ID)
				if err != nil || in.Condition != state.ConditionOK {
					t.Errorf("the inbox is %q, %v", in.Condition, err)
				}
			})
		})
	}
}

// TestWorkersRenewAllTheTime has workers and commands share tokens that are too short-lived to
// be used twice: every request of every process needs a renewal.
func TestWorkersRenewAllTheTime(t *testing.T) {
	t.Parallel()
	m := newTeam(t, genesystest.Options{AccessTokenLife: 30 * time.Second}, 2, 3)
	m.config["passes"] = 2
	m.logIn(0)
	one, two := m.start("run"), m.start("run")
	var asked []*process
	for range 2 {
		asked = append(asked, m.start("reconcile"), m.start("run", "--once", "--dry-run"))
	}
	m.awaitRuns(1)
	for _, p := range asked {
		if r := p.wait(); r.code != 0 && r.code != 3 && r.code != 5 { // 5: a worker had the inbox all the time
			t.Errorf("a command ended with %s", r)
		}
	}
	m.leaves(one)
	m.leaves(two)
	m.wantAllOnce()
	m.noneSpent()
	if n := m.cloud.Requests(opToken); n < 12 {
		t.Errorf("%d renewals prove nothing", n)
	}
}

// TestWorkersRenewWithoutDatabase takes the database away while Genesys renews a token. What
// Genesys answers is saved once the database is back: the refresh token is spent, and without it
// the user would have to log in.
func TestWorkersRenewWithoutDatabase(t *testing.T) {
	t.Parallel()
	m := newTeam(t, genesystest.Options{}, 1, 3)
	m.config["state"].(map[string]any)["claim"] = "60s"
	m.config["schedule"] = map[string]any{"cron": "@every 1s"}
	m.logIn(0)
	m.cloud.Inject(genesystest.Fault{Op: opToken, Effect: m.cloud.Stall()})
	p := m.start("run")
	m.await(opToken, 1)
	if err := m.server.Stop(postgrestest.Immediate); err != nil {
		t.Fatal(err)
	}
	m.cloud.Release()
	m.awaitLog(p, "the token could not be saved; tried again", 8) // for longer than a request is repeated
	if err := m.server.Again(); err != nil {
		t.Fatal(err)
	}
	m.awaitRuns(2)
	m.leaves(p)
	m.wantAllOnce()
	m.noneSpent()
	if n := m.cloud.Requests(opToken); n != 1 {
		t.Errorf("the token was renewed %d times", n)
	}
}
