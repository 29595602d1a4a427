package state

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Binding names the archive and the organizations that a ledger belongs to. Used with
// another archive, a ledger would take its entries for archived there.
type Binding struct {
	Endpoint      string                `json:"endpoint"`
	Bucket        string                `json:"bucket"`
	Prefix        string                `json:"prefix"`
	Organizations map[string]OrgBinding `json:"organizations,omitempty"` // by name
}

// OrgBinding names the API host and OAuth client that an organization's inboxes belong to.
type OrgBinding struct {
	APIHost  string `json:"api_host"`
	ClientID string `json:"client_id"`
}

// Difference is one value in which configuration and ledger disagree.
type Difference struct {
	What   string // e.g. "storage.bucket"
	Ledger string
	Config string
	Remedy string
}

// BindingError says that the ledger belongs to another configuration. The ledger was
// not changed.
type BindingError struct {
	Path        string
	Differences []Difference // at least one
}

func (e *BindingError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "ledger %s belongs to another configuration:", e.Path)
	for _, d := range e.Differences {
		fmt.Fprintf(&b, "\n  %s is %q in the ledger and %q in the configuration: %s", d.What, d.Ledger, d.Config, d.Remedy)
	}
	return b.String()
}

// Join compares the ledger's binding with the configured one. It returns both joined:
// an organization that only one of them has is kept.
func (b Binding) Join(config Binding) (Binding, []Difference) {
	const use = "configure the ledger's value again, or give this configuration a ledger of its own with another state.path or state.url"
	const bucket = "configure the ledger's value again; another bucket needs a new ledger: set another state.path or state.url"
	var diffs []Difference
	compare := func(what, ledger, config, remedy string) {
		if ledger != config {
			diffs = append(diffs, Difference{what, ledger, config, remedy})
		}
	}
	compare("storage.endpoint", b.Endpoint, config.Endpoint, use)
	compare("storage.bucket", b.Bucket, config.Bucket, bucket)
	compare("storage.prefix", b.Prefix, config.Prefix, use)

	orgs := maps.Clone(config.Organizations)
	if orgs == nil {
		orgs = make(map[string]OrgBinding)
	}
	for _, name := range slices.Sorted(maps.Keys(b.Organizations)) {
		have := b.Organizations[name]
		if want, ok := config.Organizations[name]; ok {
			compare("API host of organization "+name, have.APIHost, want.APIHost, use)
			compare("client_id of organization "+name, have.ClientID, want.ClientID, use)
		}
		orgs[name] = have
	}
	b.Organizations = orgs
	return b, diffs
}
