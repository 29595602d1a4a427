package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
)

// keepWait returns what is told whenever Genesys asks to be left alone: it keeps the
// time in the ledger for the next start.
func keepWait(l *bolt.Ledger, in state.Inbox, log *slog.Logger) func(until time.Time, cut string) {
	return func(until time.Time, cut string) {
		if cut == "" {
			log.Warn("Genesys limits the requests of this inbox", "until", until)
		} else {
			log.Warn("Genesys asked for more than an hour without requests, which is taken as one hour; archiverd retry --ask-anyway asks at once",
				"retry_after", cut, "until", until)
		}
		if err := l.EditInbox(context.Background(), in.Org, in.ID, func(i *state.Inbox) { i.NotBefore = until }); err != nil {
			log.Error("could not save Retry-After; a restart would ignore it", "error", err)
		}
	}
}

// endWaits has Genesys asked although a Retry-After has not passed, where the flags
// want that. The new clients don't know what the ones before have spent.
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
