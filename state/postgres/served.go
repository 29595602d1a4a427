package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

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

// FirstServed returns the recording of the organization that was the first to be served media
// with this SHA-256 in the run under way; the zero Key if none was.
func (l *Ledger) FirstServed(ctx context.Context, org, sha256 string) (state.Key, error) {
	const look = "select array[inbox, recording] from served where org = $1 and sha256 = decode($2, 'hex')"
	var first [][]byte
	err := l.row(ctx, &first, look, org, sha256)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return state.Key{}, nil
	case err != nil:
		return state.Key{}, fmt.Errorf("look whether media were served: %w", err)
	}
	return state.Key{Org: org, Inbox: string(first[0]), Recording: string(first[1])}, nil
}
