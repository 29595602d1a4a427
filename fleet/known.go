package fleet

import (
	"context"
	"log/slog"
	"slices"

	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/state"
)

// knownInboxes returns the inboxes of an organization that a run archives. Inboxes that need no login are entered in the
// ledger here: the client's own, and those of the roster where a token command is configured.
func knownInboxes(ctx context.Context, l ledger, o config.Organization, log *slog.Logger) ([]state.Inbox, error) {
	var roster map[string]string
	switch o.Grant {
	case genesys.GrantClientCredentials:
		roster = map[string]string{ClientInbox: ""}
	case genesys.GrantCommand:
		roster = Roster(o, log)
	}
	known, err := l.Inboxes(ctx, o.Name)
	if err != nil || roster == nil {
		return slices.DeleteFunc(known, func(i state.Inbox) bool { return i.LoggedOut }), err
	}
	if err := enterRoster(ctx, l, o.Name, known, roster); err != nil {
		return nil, err
	}
	known, err = l.Inboxes(ctx, o.Name)
	return slices.DeleteFunc(known, func(i state.Inbox) bool { _, expected := roster[i.ID]; return !expected }), err
}

// enterRoster enters everyone on the roster in the ledger, with the roster's e-mail address.
func enterRoster(ctx context.Context, l ledger, org string, known []state.Inbox, roster map[string]string) error {
	entered := map[string]string{}
	for _, i := range known {
		entered[i.ID] = i.Email
	}
	for id, email := range roster {
		if have, ok := entered[id]; ok && have == email {
			continue
		}
		if err := l.EditInbox(ctx, org, id, func(i *state.Inbox) { i.Email = email }); err != nil {
			return err
		}
	}
	return nil
}

// Roster returns the e-mail address of every user of the roster by id; nil if no roster is configured. It reads the file
// each time, since people come and go while a service runs. In place of a faulty file it uses the roster that was read with
// the configuration.
func Roster(o config.Organization, log *slog.Logger) map[string]string {
	if o.RosterFile == "" {
		return nil
	}
	users, err := config.ReadRoster(o.RosterFile)
	if err != nil {
		log.Error("the roster is not used; the one read before stays", "org", o.Name, "file", o.RosterFile, "error", err)
		users = o.Roster
	}
	emails := make(map[string]string, len(users))
	for _, u := range users {
		emails[u.ID] = u.Email
	}
	return emails
}
