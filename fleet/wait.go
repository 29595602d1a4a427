package fleet

import (
	"context"
	"time"

	"github.com/archiverd/archiverd/state"
)

// keepWait is called for each Retry-After: it logs the wait and saves it in the ledger, so that
// it holds after a restart. A longer wait that is saved already, perhaps by another process,
// stays.
func (s *session) keepWait(until time.Time, cut string) {
	if cut == "" {
		s.log.Warn("Genesys limits the requests of this inbox", "until", until)
	} else {
		s.log.Warn("Genesys asked for more than an hour without requests; archiverd waits one hour; archiverd retry --ask-anyway sends requests at once",
			"retry_after", cut, "until", until)
	}
	later := func(i *state.Inbox) {
		if until.After(i.NotBefore) {
			i.NotBefore = until
		}
	}
	var err error
	if c := s.claim.Load(); c != nil {
		err = (*c).EditInbox(context.Background(), later)
	} else {
		err = s.ledger.EditInbox(context.Background(), s.org, s.inbox, later)
	}
	if err != nil {
		s.log.Error("could not save Retry-After; a restart would ignore it", "error", err)
	}
}

// endWaits clears the saved Retry-After of the selected inboxes and drops their clients. A new
// client's budget starts empty, because what the old one spent is not known.
func (f *Fleet) endWaits(ctx context.Context, only Selection) error {
	inboxes, err := f.Ledger.Inboxes(ctx, only.Org)
	if err != nil {
		return err
	}
	for _, i := range inboxes {
		if !only.has(i.ID) {
			continue
		}
		if err := f.Ledger.EditInbox(ctx, i.Org, i.ID, func(i *state.Inbox) { i.NotBefore = time.Time{} }); err != nil {
			return err
		}
		delete(f.known, inboxKey{i.Org, i.ID})
	}
	f.started = time.Now()
	return nil
}
