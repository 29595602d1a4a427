package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
)

// knownInboxes returns the inboxes of an organization that a run archives. Inboxes that need no login are entered in the
// ledger here: the client's own, and those of the roster where a token command is configured.
func knownInboxes(ctx context.Context, l *bolt.Ledger, o config.Organization, log *slog.Logger) ([]state.Inbox, error) {
	var roster map[string]string
	switch o.Grant {
	case genesys.GrantClientCredentials:
		roster = map[string]string{clientInbox: ""}
	case genesys.GrantCommand:
		roster = rosterNow(o, log)
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
func enterRoster(ctx context.Context, l *bolt.Ledger, org string, known []state.Inbox, roster map[string]string) error {
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

// rosterNow returns the e-mail address of every user of the roster by id; nil if no roster is configured. It reads the file
// each time, since people come and go while a service runs. In place of a faulty file it uses the roster that was read with
// the configuration.
func rosterNow(o config.Organization, log *slog.Logger) map[string]string {
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

// organization returns the organization of that name, or the only one if name is "".
func organization(c *config.Config, name string) (config.Organization, error) {
	if name == "" && len(c.Organizations) == 1 {
		return c.Organizations[0], nil
	}
	var names []string
	for _, o := range c.Organizations {
		if o.Name == name {
			return o, nil
		}
		names = append(names, o.Name)
	}
	return config.Organization{}, fail(exitUsage, fmt.Errorf("--org %q: want one of %q", name, names))
}

// loginOrganization is organization, and refuses one whose users don't log in.
func loginOrganization(c *config.Config, name string) (config.Organization, error) {
	o, err := organization(c, name)
	if err != nil {
		return o, err
	}
	switch o.Grant {
	case genesys.GrantClientCredentials:
		err = fmt.Errorf("organization %s has grant: client_credentials: its one inbox is the client's, nobody logs in or out", o.Name)
	case genesys.GrantCommand:
		err = fmt.Errorf("organization %s has grant: command: the inboxes that are archived are those of its roster, %s", o.Name, o.RosterFile)
	}
	return o, fail(exitUsage, err)
}
