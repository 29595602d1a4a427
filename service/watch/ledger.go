package watch

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/workers"
)

// ledger is implemented by *bolt.Ledger and *postgres.Ledger.
type ledger interface {
	inboxLister
	Disk() (size, free int64, err error) // free -1: not known
}

type inboxLister interface {
	Inboxes(ctx context.Context, org string) ([]state.Inbox, error)
}

// team is implemented by *workers.Worker.
type team interface {
	Team(ctx context.Context) (workers.Team, error)
	ClaimsLost() int64
}

// conditionNew is the condition of an inbox that had no pass yet.
const conditionNew = "new"

// orgFigures are the figures of one organization, of all its inboxes together.
type orgFigures struct {
	counts        map[state.State]int64
	totals        state.Totals
	bytes         int64
	conditions    map[string]int64
	needsPerson   int64
	suspect       int64
	unproved      int64
	limited       int64
	lastSuccess   time.Time // of any inbox
	oldestWaiting time.Time
}

// figures adds up the inboxes of each organization.
func figures(inboxes []state.Inbox, now time.Time) map[string]*orgFigures {
	all := map[string]*orgFigures{}
	for _, i := range inboxes {
		f := all[i.Org]
		if f == nil {
			f = &orgFigures{counts: map[state.State]int64{}, conditions: map[string]int64{
				conditionNew: 0, state.ConditionOK: 0, state.ConditionNeedsLogin: 0, state.ConditionFailing: 0, state.ConditionShort: 0}}
			all[i.Org] = f
		}
		f.add(i, now)
	}
	return all
}

func (f *orgFigures) add(i state.Inbox, now time.Time) {
	for s, n := range i.Counts {
		f.counts[s] += n
	}
	f.totals.Archived += i.Totals.Archived
	f.totals.Failed += i.Totals.Failed
	f.totals.Vanished += i.Totals.Vanished
	f.totals.Gone += i.Totals.Gone
	f.totals.Deleted += i.Totals.Deleted
	f.totals.Findings += i.Totals.Findings
	f.bytes += i.Bytes
	f.needsPerson += i.NeedsPerson
	f.suspect += i.Suspect
	f.unproved += i.Unproved
	f.conditions[conditionOf(i)]++
	if i.NotBefore.After(now) {
		f.limited++
	}
	if i.LastSuccess.After(f.lastSuccess) {
		f.lastSuccess = i.LastSuccess
	}
	if w := i.OldestWaiting; !w.IsZero() && (f.oldestWaiting.IsZero() || w.Before(f.oldestWaiting)) {
		f.oldestWaiting = w
	}
}

func conditionOf(i state.Inbox) string {
	if i.Condition == "" {
		return conditionNew
	}
	return i.Condition
}

// kept counts the recordings whose media are in the archive and whose original archiverd
// did not delete. archiverd status counts in the same way.
func kept(counts map[state.State]int64) int64 {
	return counts[state.StateArchived] + counts[state.StateDeleteRequested] + counts[state.StateGone]
}

// disposed counts the recordings that were removed from the archive.
func disposed(counts map[state.State]int64) int64 {
	return counts[state.StateErased] + counts[state.StateExpired]
}

// ledgerCollector reads the ledger at each scrape.
type ledgerCollector struct {
	ledger ledger
	team   team // nil: the ledger is a file
	descs  []*prometheus.Desc

	recordings, bytes, findings                     *prometheus.Desc
	backlog, failed, archived, deleted, vanished    *prometheus.Desc
	needsPerson, suspect, unproved                  *prometheus.Desc
	waived, disposed                                *prometheus.Desc
	inboxes, limited, lastSuccess, oldestUnarchived *prometheus.Desc
	size, free                                      *prometheus.Desc

	reached, alive, running, waiting, oldestWaiting, claimsLost *prometheus.Desc // with a team
}

func newLedgerCollector(l ledger, t team) *ledgerCollector {
	c := &ledgerCollector{ledger: l, team: t}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		d := prometheus.NewDesc("archiverd_"+name, help, labels, nil)
		c.descs = append(c.descs, d)
		return d
	}
	c.recordings = desc("recordings_total", "What happened to recordings, since the ledger was made: versions archived, attempts failed, originals vanished, gone and deleted.", "org", "result")
	c.bytes = desc("media_bytes_total", "Bytes of media archived, since the ledger was made.", "org")
	c.findings = desc("integrity_findings_total", "Objects in the archive that were not as they should be, counted in each pass that found them, since the ledger was made.", "org")
	c.backlog = desc("backlog_recordings", "Recordings that wait to be archived.", "org")
	c.failed = desc("failed_recordings", "Recordings that could not be archived yet.", "org")
	c.archived = desc("archived_recordings", "Recordings in the archive whose original archiverd has not deleted.", "org")
	c.deleted = desc("deleted_recordings", "Recordings in the archive whose original archiverd has deleted.", "org")
	c.vanished = desc("vanished_recordings", "Recordings that were deleted in Genesys before they could be archived.", "org")
	c.waived = desc("waived_recordings", "Recordings that are not archived, which a person accepts.", "org")
	c.disposed = desc("disposed_recordings", "Recordings that were removed from the archive, by an order or after their retention.", "org")
	c.needsPerson = desc("needs_person_recordings", "Failed recordings that need a person, because they have failed for too long.", "org")
	c.suspect = desc("suspect_recordings", "Recordings whose archived media contradict themselves or the metadata. Their originals are never deleted.", "org")
	c.unproved = desc("unproved_recordings", "Recordings whose archived media could not be proved to be whole.", "org")
	c.inboxes = desc("inboxes", "Inboxes by condition.", "org", "condition")
	c.limited = desc("rate_limited_inboxes", "Inboxes for which Genesys asked to wait before the next request.", "org")
	c.lastSuccess = desc("last_success_timestamp_seconds", "When the last pass of any inbox that did not end early ended.", "org")
	c.oldestUnarchived = desc("oldest_unarchived_timestamp_seconds", "Creation time of the oldest recording that the last passes left unarchived. Absent if all were archived.", "org")
	c.size = desc("ledger_bytes", "Size of the ledger's file or database.")
	c.free = desc("ledger_free_bytes", "Free space of the file system of the ledger's file.")
	if t == nil {
		return c
	}
	c.reached = desc("database_up", "1 if this process can reach the ledger's database. If it is 0, the figures of the ledger are absent.")
	c.alive = desc("workers", "Workers that share the ledger and gave a sign of life within state.claim.")
	c.running = desc("running_passes", "Passes under way, of all workers.")
	c.waiting = desc("waiting_passes", "Passes of the run under way that wait for a worker.")
	c.oldestWaiting = desc("oldest_waiting_pass_timestamp_seconds", "Since when the first of the waiting passes waits. Absent if none does.")
	c.claimsLost = desc("claims_lost_total", "Claims on inboxes that this process lost to others or let run out, since it started.")
	return c
}

// Describe implements prometheus.Collector.
func (c *ledgerCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		to <- d
	}
}

// readTimeout is how long a database may take. Prometheus waits for 10 s by default, and is to
// learn in this time that the database does not answer.
const readTimeout = 5 * time.Second

// reading is what a scrape reads.
type reading struct {
	inboxes    []state.Inbox
	size, free int64
	team       workers.Team
}

func (c *ledgerCollector) read(ctx context.Context) (r reading, err error) {
	if r.inboxes, err = c.ledger.Inboxes(ctx, ""); err != nil {
		return r, err
	}
	if r.size, r.free, err = c.ledger.Disk(); err != nil || c.team == nil {
		return r, err
	}
	r.team, err = c.team.Team(ctx)
	return r, err
}

// Collect implements prometheus.Collector. A ledger that can't be read fails the scrape: a
// missing number is better than a wrong one. If its database can't be reached, its numbers
// are missing, and a number says so.
func (c *ledgerCollector) Collect(to chan<- prometheus.Metric) {
	ctx := context.Background() // the interface has none
	send := func(d *prometheus.Desc, value float64) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value)
	}
	if c.team != nil {
		limited, cancel := context.WithTimeout(ctx, readTimeout)
		defer cancel()
		ctx = limited
		to <- prometheus.MustNewConstMetric(c.claimsLost, prometheus.CounterValue, float64(c.team.ClaimsLost()))
	}
	r, err := c.read(ctx)
	switch {
	case c.team != nil && errors.Is(err, state.ErrUnavailable):
		send(c.reached, 0)
		return
	case err != nil:
		to <- prometheus.NewInvalidMetric(c.backlog, err)
		return
	}
	for org, f := range figures(r.inboxes, time.Now()) {
		c.collect(org, f, to)
	}
	send(c.size, float64(r.size))
	if r.free >= 0 {
		send(c.free, float64(r.free))
	}
	if c.team == nil {
		return
	}
	send(c.reached, 1)
	send(c.alive, float64(r.team.Alive()))
	send(c.running, float64(r.team.Running))
	send(c.waiting, float64(r.team.Waiting))
	if !r.team.Oldest.IsZero() {
		send(c.oldestWaiting, unix(r.team.Oldest))
	}
}

func (c *ledgerCollector) collect(org string, f *orgFigures, to chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, kind, value, append([]string{org}, labels...)...)
	}
	for result, n := range map[string]int64{
		"archived": f.totals.Archived, "failed": f.totals.Failed, "vanished": f.totals.Vanished,
		"gone": f.totals.Gone, "deleted": f.totals.Deleted,
	} {
		send(c.recordings, prometheus.CounterValue, float64(n), result)
	}
	send(c.bytes, prometheus.CounterValue, float64(f.bytes))
	send(c.findings, prometheus.CounterValue, float64(f.totals.Findings))
	for d, n := range map[*prometheus.Desc]int64{
		c.backlog: f.counts[state.StateListed], c.failed: f.counts[state.StateFailed], c.archived: kept(f.counts),
		c.deleted: f.counts[state.StateDeleted], c.vanished: f.counts[state.StateVanished], c.limited: f.limited, c.needsPerson: f.needsPerson,
		c.waived: f.counts[state.StateWaived], c.disposed: disposed(f.counts),
		c.suspect: f.suspect, c.unproved: f.unproved,
	} {
		send(d, prometheus.GaugeValue, float64(n))
	}
	for condition, n := range f.conditions {
		send(c.inboxes, prometheus.GaugeValue, float64(n), condition)
	}
	for d, t := range map[*prometheus.Desc]time.Time{c.lastSuccess: f.lastSuccess, c.oldestUnarchived: f.oldestWaiting} {
		if !t.IsZero() {
			send(d, prometheus.GaugeValue, unix(t))
		}
	}
}
