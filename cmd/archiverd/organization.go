package main

import (
	"fmt"

	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/genesys"
)

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
		err = fmt.Errorf("organization %s has grant: client_credentials: its one inbox is the client's, so nobody logs in or out", o.Name)
	case genesys.GrantCommand:
		err = fmt.Errorf("organization %s has grant: command: the inboxes that are archived are those of its roster, %s", o.Name, o.RosterFile)
	}
	return o, fail(exitUsage, err)
}
