package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
)

// keepWait returns a function to be called for each Retry-After: it logs the wait and
// saves it in the ledger, so that it holds after a restart.
func keepWait(l *bolt.Ledger, in state.Inbox, log *slog.Logger) func(until time.Time, cut string) {
	return func(until time.Time, cut string) {
		if cut == "" {
			log.Warn("Genesys limits the requests of this inbox", "until", until)
		} else {
			log.Warn("Genesys asked for more than an hour without requests; archiverd waits one hour; archiverd retry --ask-anyway sends requests at once",
				"retry_after", cut, "until", until)
		}
		if err := l.EditInbox(context.Background(), in.Org, in.ID, func(i *state.Inbox) { i.NotBefore = until }); err != nil {
			log.Error("could not save Retry-After; a restart would ignore it", "error", err)
		}
	}
}

// endWaits clears every Retry-After of the selected inboxes, if --ask-anyway is set. The
// inboxes get new clients, whose budgets start empty: what the old clients spent is lost.
func (f *fleet) endWaits(ctx context.Context, flags runFlags) error {
	if !flags.askAnyway {
		return nil
	}
	inboxes, err := f.ledger.Inboxes(ctx, flags.only.org)
	if err != nil {
		return err
	}
	for _, i := range inboxes {
		if flags.only.inbox != "" && flags.only.inbox != i.ID {
			continue
		}
		if err := f.ledger.EditInbox(ctx, i.Org, i.ID, func(i *state.Inbox) { i.NotBefore = time.Time{} }); err != nil {
			return err
		}
		delete(f.known, [2]string{i.Org, i.ID})
	}
	f.started = time.Now()
	return nil
}
