package main

import (
	"context"
	"fmt"
	"time"

	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/doctor"
	"github.com/archiverd/archiverd/state"
)

// kept says that the configuration asks for a longer retention than the newest stored
// recording has, or "". A change of the configuration changes nothing that is stored.
func kept(ctx context.Context, c *config.Config, l searcher) (found string, err error) {
	want := retention(c)
	if want.Mode == "" {
		return "", nil
	}
	for _, s := range []state.State{state.StateArchived, state.StateDeleted} {
		q := state.Query{Selection: state.Selection{State: s}, Sort: state.SortCreated, Reverse: true, Limit: 1}
		err := l.Search(ctx, q, func(k state.Key, e *state.Entry) error {
			v := e.Newest()
			lock := want.Lock(e.DateCreated, v.ArchivedAt)
			if lock.Until.Sub(v.RetainUntil) >= 24*time.Hour {
				found = fmt.Sprintf("what is stored is not kept for as long as storage.object_lock says now: %s until %s, not until %s",
					k, orNever(v.RetainUntil), lock.Until.Format(time.DateOnly))
			}
			return nil
		})
		if err != nil || found != "" {
			return found, err
		}
	}
	return "", nil
}

func orNever(t time.Time) string {
	if t.IsZero() {
		return "no date at all"
	}
	return t.Format(time.DateOnly)
}

// keptRemedy is what to do about what kept says.
func keptRemedy(c *config.Config) string {
	return fmt.Sprintf("a change of the configuration applies to what is written from then on; archiverd retain --all --for %s extends what is stored",
		c.Storage.ObjectLock.RetainFor)
}

// keptCheck is the doctor's check of what kept says; there is none if all is well.
func keptCheck(c *config.Config, found string) []doctor.Check {
	if found == "" {
		return nil
	}
	return []doctor.Check{{Name: "ledger.retention", Result: doctor.Warn, Found: found, Remedy: keptRemedy(c)}}
}

// sayKept logs what kept says.
func (d *daemon) sayKept(ctx context.Context, c *config.Config) {
	found, err := kept(ctx, c, d.ledger)
	switch {
	case err != nil:
		d.log.Warn("could not compare the retention of what is stored with the configuration", "error", err)
	case found != "":
		d.log.Warn(found, "remedy", keptRemedy(c))
	}
}
