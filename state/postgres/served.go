package postgres

import (
	"context"
	"fmt"

	"github.com/archiverd/archiverd/state"
)

// The first insert wins: one that comes at the same time waits for it, and then reads it.
const noteServed = `insert into served as s (org, sha256, inbox, recording) values ($1, decode($2, 'hex'), $3, $4)
	on conflict (org, sha256) do update set inbox = s.inbox returning (s.inbox, s.recording) <> ($3, $4)`

// Served notes that a recording was served media with this SHA-256, in hex. It reports
// whether another recording of the organization was served the same before, in this process
// or another. What was noted is forgotten when a run begins, and by a crash of the server.
func (l *Ledger) Served(ctx context.Context, k state.Key, sha256 string) (another bool, err error) {
	if err := l.row(ctx, &another, noteServed, k.Org, sha256, []byte(k.Inbox), []byte(k.Recording)); err != nil {
		return false, fmt.Errorf("compare the media of %s with others: %w", k, err)
	}
	return another, nil
}

// ServedOther forgets that a recording was served media with this SHA-256: when it was asked
// for once more, it was served others.
func (l *Ledger) ServedOther(ctx context.Context, k state.Key, sha256 string) error {
	const forget = "delete from served where org = $1 and sha256 = decode($2, 'hex') and inbox = $3 and recording = $4"
	if err := l.exec(ctx, forget, k.Org, sha256, []byte(k.Inbox), []byte(k.Recording)); err != nil {
		return fmt.Errorf("forget the media of %s: %w", k, err)
	}
	return nil
}

// WasServed reports whether a recording of the organization was served media with this
// SHA-256 in the run under way.
func (l *Ledger) WasServed(ctx context.Context, org, sha256 string) (served bool, err error) {
	const look = "select exists (select from served where org = $1 and sha256 = decode($2, 'hex'))"
	if err := l.row(ctx, &served, look, org, sha256); err != nil {
		return false, fmt.Errorf("look whether media were served: %w", err)
	}
	return served, nil
}
