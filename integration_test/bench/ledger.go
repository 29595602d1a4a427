package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
)

// pageOf is how many entries one transaction makes.
const pageOf = 5000

// preload archives in a ledger n recordings of one inbox, those that the origin's inbox of
// the same user holds, and journals them.
func preload(l state.Ledger, user string, n int) error {
	token := state.Token{Access: user, Refresh: "refresh", Expiry: time.Now().Add(24 * time.Hour), Confirmed: true}
	if err := l.Login(context.Background(), orgName, user, token, nil); err != nil {
		return err
	}
	for from := 0; from < n; from += pageOf {
		var ids []string
		var changes []state.Change
		for i := from; i < min(n, from+pageOf); i++ {
			ids, changes = append(ids, recordingID(user, i)), append(changes, archived(user, i)...)
		}
		err := l.List(context.Background(), orgName, user, ids, func(func(string) (state.Entry, bool)) []state.Change { return changes })
		if err != nil {
			return err
		}
		if err := journalled(l, user); err != nil {
			return err
		}
	}
	return nil
}

// journalled forgets the events, as a pass does once they are in the archive.
func journalled(l state.Ledger, user string) error {
	events, err := l.Events(context.Background(), orgName, user, 2*pageOf)
	if err != nil {
		return err
	}
	in, err := l.Inbox(context.Background(), orgName, user)
	if err != nil {
		return err
	}
	return l.MoveJournal(context.Background(), orgName, user, in.Journal, in.Journal, events)
}

// archived takes one recording through the ledger.
func archived(user string, n int) []state.Change {
	id, date := recordingID(user, n), recordingDate(n).Format(dateForm)
	day := fmt.Sprintf("/org=%s/inbox=%s/year=2026/month=01/day=01/%s", orgName, user, id)
	version := state.Version{
		DateModified: date, Format: "WAV",
		MediaKey: "genesys/media" + day + ".wav", MediaVersionID: fmt.Sprintf("%032x", n*7919),
		ManifestKey: "genesys/manifests" + day + ".json", ManifestVersionID: fmt.Sprintf("%032x", n*7907),
		Size: 128 << 10, SHA256: fmt.Sprintf("%064x", n*104729), Checksum: fmt.Sprintf("SHA256:%044d", n),
		ManifestSize: manifestSize, ManifestSHA256: fmt.Sprintf("%064x", n*104723), ArchivedAt: time.Now().UTC(),
	}
	return []state.Change{
		{Recording: id, To: state.StateListed, Edit: func(e *state.Entry) {
			e.Name, e.ConversationID = fmt.Sprintf("Recording %d", n), conversationID(n)
			e.DateCreated, e.DateModified, e.MediaKey = date, date, version.MediaKey
		}},
		{Recording: id, From: state.StateListed, To: state.StateArchived, Edit: func(e *state.Entry) { e.Versions = append(e.Versions, version) }},
	}
}

// ledgerCost is what a ledger of so many archived recordings costs.
type ledgerCost struct {
	Entries  int
	PerEntry float64 // bytes on disk
	Open     time.Duration
	Status   usage // archiverd status on it
	Failed   usage // archiverd ls --state failed on it
}

func (b *bench) ledger(n int) (c ledgerCost, err error) {
	config, err := b.configure(settings{inboxes: 0, workers: workers, memory: memory}, b.sink.store(), "ledger")
	if err != nil {
		return c, err
	}
	path := filepath.Join(filepath.Dir(config), "archiverd.db")
	filled, err := b.openLedger(path, "", b.binding(b.sink.store(), "ledger"))
	if err != nil {
		return c, err
	}
	if err := errors.Join(preload(filled, userID(0), n), filled.Close()); err != nil {
		return c, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return c, err
	}
	c.Entries, c.PerEntry = n, float64(info.Size())/float64(n)
	began := time.Now()
	l, err := bolt.Open(path, bolt.Options{Binding: b.binding(b.sink.store(), "ledger")})
	if err != nil {
		return c, err
	}
	c.Open = time.Since(began)
	if err := l.Close(); err != nil {
		return c, err
	}
	if c.Status, _, err = measure(b.command(config, "status")); err != nil {
		return c, err
	}
	c.Failed, _, err = measure(b.command(config, "ls", "--state", "failed"))
	return c, err
}
