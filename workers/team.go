package workers

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Team is what the processes that share a database are doing.
type Team struct {
	Workers []Member  `json:"workers"`         // by name
	Running int       `json:"running"`         // passes under way
	Waiting int       `json:"waiting"`         // passes of the run under way that wait for a worker
	Oldest  time.Time `json:"oldest,omitzero"` // since when the first of these waits
}

// Member is one of the processes: a worker, or a command that holds inboxes.
type Member struct {
	Name  string    `json:"name"`           // as in the ledger's claims
	Alive bool      `json:"alive"`          // a worker that gave a sign of life within a claim's life
	Since time.Time `json:"since,omitzero"` // when the worker started; zero: a command
	Seen  time.Time `json:"seen,omitzero"`  // the worker's last sign of life; zero: a command
	Holds []string  `json:"holds"`          // the inboxes under its claims, each as org/inbox, sorted
}

// Alive is the number of workers that live.
func (t Team) Alive() (n int) {
	for _, m := range t.Workers {
		if m.Alive {
			n++
		}
	}
	return n
}

// A worker keeps a row with its last sign of life, also while it holds no inbox. The row of
// one that died is shown for an hour.
const (
	signOfLife = "insert into workers (holder, claim) values ($1, $2) on conflict (holder) do update set seen = now()"
	forgetDead = "delete from workers where seen < now() - interval '1 hour'"
	forgetOwn  = "delete from workers where holder = $1"
)

const lookAtMembers = `select coalesce(w.holder, i.holder), w.started, w.seen, coalesce(w.seen > now() - w.claim, false),
		coalesce(array_agg(i.org order by i.org, i.id) filter (where i.org is not null), '{}'),
		coalesce(array_agg(i.id order by i.org, i.id) filter (where i.org is not null), '{}')
	from workers w full join (select org, id, holder from inboxes where claimed_until > now()) i on i.holder = w.holder
	group by 1, 2, 3, 4 order by 1`

const lookAtPasses = `select count(*) filter (where state = 'running'), count(*) filter (where state <> 'running'),
		min(scheduled_at) filter (where state <> 'running')
	from river_job where kind = 'pass' and finalized_at is null`

// Look returns the processes that share the ledger in the database, and counts the passes of
// the run under way. A process that has given no sign of life for as long as its claims live is
// not alive.
func Look(ctx context.Context, pool *pgxpool.Pool) (t Team, err error) {
	rows, err := pool.Query(ctx, lookAtMembers)
	if err != nil {
		return t, fmt.Errorf("look at the workers: %w", err)
	}
	t.Workers, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (m Member, err error) {
		var since, seen *time.Time
		var orgs []string
		var ids [][]byte
		err = row.Scan(&m.Name, &since, &seen, &m.Alive, &orgs, &ids)
		if since != nil && seen != nil {
			m.Since, m.Seen = *since, *seen
		}
		m.Holds = []string{}
		for n, id := range ids {
			m.Holds = append(m.Holds, orgs[n]+"/"+string(id))
		}
		return m, err
	})
	if err != nil {
		return t, fmt.Errorf("look at the workers: %w", err)
	}
	var oldest *time.Time
	if err := pool.QueryRow(ctx, lookAtPasses).Scan(&t.Running, &t.Waiting, &oldest); err != nil {
		return t, fmt.Errorf("look at the jobs of the workers: %w", err)
	}
	if oldest != nil {
		t.Oldest = *oldest
	}
	return t, nil
}

// Team looks at this worker and the others.
func (w *Worker) Team(ctx context.Context) (Team, error) { return Look(ctx, w.Ledger.Pool()) }

// ClaimsLost is how many claims this worker has lost to others, or let run out.
func (w *Worker) ClaimsLost() int64 { return w.lost.Load() }

// live gives a sign of life.
func (w *Worker) live(ctx context.Context) error {
	b := &pgx.Batch{}
	b.Queue(signOfLife, w.Name, w.Claim)
	b.Queue(forgetDead)
	return w.Ledger.Pool().SendBatch(ctx, b).Close()
}

// leaveTimeout bounds the wait for a database that does not answer.
const leaveTimeout = 10 * time.Second

// leave takes the sign of life back, so that nobody misses a worker that was told to stop.
func (w *Worker) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	if _, err := w.Ledger.Pool().Exec(ctx, forgetOwn, w.Name); err != nil {
		w.Log.Warn("the sign of life of this worker could not be removed: for an hour the worker is shown as one that died", "error", err)
	}
}
