package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/archiverd/archiverd/state"
)

// claim implements state.Claim. Its number, the fencing number, is in the inbox's row, beside
// the time until which it lives by the database's clock.
type claim struct {
	l      *Ledger
	at     place
	number int64
	inbox  int64     // the inbox's number in the database
	knows  *known    // nil: nothing; guarded by the turn of the inbox's line, as is last
	last   time.Time // when the last transaction under the claim ended

	mu    sync.Mutex
	until time.Time
}

// A number is at least the time in microseconds. So it is larger than all before, also than
// those that a database lost which was restored to an earlier moment, or which took over
// without the last commits: another process may still work under one of these.
const takeClaim = `update inboxes set holder = $3, claimed_until = clock_timestamp() + $4,
		claim = greatest(claim + 1, (extract(epoch from clock_timestamp()) * 1000000)::bigint)
	where org = $1 and id = $2 and claimed_until <= clock_timestamp() returning claim, inbox`

const keepClaim = `update inboxes set claimed_until = clock_timestamp() + $4
	where org = $1 and id = $2 and claim = $3 and claimed_until > clock_timestamp() returning claim`

const releaseClaim = "update inboxes set claimed_until = '-infinity' where org = $1 and id = $2 and claim = $3"

// Claim implements state.Claims. If the reply is lost, the claim is nobody's until it runs
// out.
func (l *Ledger) Claim(ctx context.Context, org, inbox string) (state.Claim, error) {
	c := &claim{l: l, at: place{org, inbox}, until: time.Now().Add(l.claim)}
	err := l.values(ctx, []any{&c.number, &c.inbox}, takeClaim, org, []byte(inbox), l.holder, l.claim)
	if errors.Is(err, pgx.ErrNoRows) {
		err = l.claimed(ctx, c.at)
	}
	if err != nil {
		return nil, fmt.Errorf("claim inbox %s/%s: %w", org, inbox, err)
	}
	return c, nil
}

// row reads one value.
func (l *Ledger) row(ctx context.Context, value any, sql string, args ...any) error {
	return l.values(ctx, []any{value}, sql, args...)
}

func (l *Ledger) values(ctx context.Context, values []any, sql string, args ...any) error {
	ctx, cancel := limited(ctx)
	defer cancel()
	return Classify(l.pool.QueryRow(ctx, sql, args...).Scan(values...))
}

// claimed says why an inbox could not be claimed.
func (l *Ledger) claimed(ctx context.Context, at place) error {
	var holder string
	err := l.row(ctx, &holder, "select holder from inboxes where org = $1 and id = $2", at.org, []byte(at.inbox))
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return state.ErrNotFound
	case err != nil:
		return err
	}
	return fmt.Errorf("%w: %s", state.ErrClaimed, holder)
}

func (c *claim) Number() int64 { return c.number }

func (c *claim) Until() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.until
}

func (c *claim) Keep(ctx context.Context) error {
	until := time.Now().Add(c.l.claim)
	var number int64
	err := c.l.row(ctx, &number, keepClaim, c.at.org, []byte(c.at.inbox), c.number, c.l.claim)
	if errors.Is(err, pgx.ErrNoRows) {
		err = state.ErrClaimLost
	}
	if err != nil {
		return fmt.Errorf("keep the claim on inbox %s/%s: %w", c.at.org, c.at.inbox, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = until
	return nil
}

func (c *claim) Release(ctx context.Context) error {
	if err := c.l.exec(ctx, releaseClaim, c.at.org, []byte(c.at.inbox), c.number); err != nil {
		return fmt.Errorf("release the claim on inbox %s/%s: %w", c.at.org, c.at.inbox, err)
	}
	return nil
}

func (c *claim) Move(ctx context.Context, recording string, from, to state.State, edit func(*state.Entry)) (state.Entry, error) {
	return c.l.move(ctx, c, state.Key{Org: c.at.org, Inbox: c.at.inbox, Recording: recording}, state.Change{Recording: recording, From: from, To: to, Edit: edit})
}

func (c *claim) List(ctx context.Context, recordings []string, f func(get func(recording string) (state.Entry, bool)) []state.Change) error {
	return c.l.list(ctx, c, c.at, recordings, f)
}

func (c *claim) EditInbox(ctx context.Context, edit func(*state.Inbox)) error {
	return c.l.editInbox(ctx, c, c.at, edit)
}

func (c *claim) AddPass(ctx context.Context, p state.Pass, edit func(*state.Inbox)) error {
	return c.l.addPass(ctx, c, c.at, p, edit)
}

// AddPassAnd does what AddPass does, and executes a statement in the same transaction.
func (c *claim) AddPassAnd(ctx context.Context, p state.Pass, edit func(*state.Inbox), sql string, args ...any) error {
	return c.l.addPass(ctx, c, c.at, p, edit, statement{sql, args})
}

func (c *claim) SaveToken(ctx context.Context, from, to state.Token) error {
	return c.l.saveToken(ctx, c, c.at, from, to)
}

func (c *claim) MoveJournal(ctx context.Context, from, to state.JournalHead, has []state.Event) error {
	return c.l.moveJournal(ctx, c, c.at, from, to, has)
}

func (c *claim) AddUpload(ctx context.Context, u state.UploadRef) error {
	u.Org, u.Inbox = c.at.org, c.at.inbox
	args, err := uploadArgs(u)
	if err == nil {
		err = c.add(ctx, addUpload, args...)
	}
	if err != nil {
		return fmt.Errorf("add upload of %q: %w", u.Key, err)
	}
	return nil
}

func (c *claim) RemoveUpload(ctx context.Context, key, id string) error {
	if err := c.add(ctx, removeUpload, []byte(key), []byte(id)); err != nil {
		return fmt.Errorf("remove upload of %q: %w", key, err)
	}
	return nil
}

// add makes a statement under the claim.
func (c *claim) add(ctx context.Context, sql string, args ...any) error {
	return c.l.change(ctx, change{place: c.at, claim: c, f: func(p *page) error {
		p.add(sql, args...)
		return nil
	}})
}
