package bolt

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/archiverd/archiverd/state"
)

// ids makes UUIDs and dates of recordings, the same with every run.
type ids struct {
	r    *rand.Rand
	date *time.Time
}

func newIDs() ids {
	return ids{rand.New(rand.NewPCG(1, 2)), new(time.Date(2026, 11, 23, 9, 4, 12, 345e6, time.UTC))}
}

// next returns the date of the next recording.
func (i ids) next() string {
	*i.date = i.date.Add(time.Minute)
	return i.date.Format("2006-01-02T15:04:05.000Z")
}

func (i ids) hex(n int) string {
	var b strings.Builder
	for b.Len() < n {
		fmt.Fprintf(&b, "%016x", i.r.Uint64())
	}
	return b.String()[:n]
}

func (i ids) uuid() string {
	h := i.hex(32)
	return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-a" + h[17:20] + "-" + h[20:]
}

// typicalListed returns an edit like that of a listing.
func typicalListed(i ids) func(*state.Entry) {
	conversation, raw, date := i.uuid(), i.hex(1200), i.next()
	participants := []state.Participant{{UserID: i.uuid(), Name: "Ann Example"}, {Name: "Dublin, Ireland", Address: "tel:+3531" + i.hex(7)}}
	at := time.Date(2026, 11, 23, 9, 4, 59, 123456789, time.UTC)
	return func(e *state.Entry) {
		e.Name, e.ConversationID = "Recording 23.11.2026 09:04", conversation
		e.DateCreated, e.DateModified = date, date
		e.Participants, e.Milliseconds = participants, 61_234
		e.Raw, e.Expanded, e.ListedAt = []byte(`{"raw":"`+raw+`"}`), true, at
	}
}

// typicalArchived returns an edit like that of a transfer to S3 with versions and a lock.
func typicalArchived(i ids, k state.Key) func(*state.Entry) {
	v1, v2, sha1, sha2 := i.hex(32), i.hex(32), i.hex(64), i.hex(64)
	at := time.Date(2026, 11, 23, 10, 4, 59, 123456789, time.UTC)
	place := "org=" + k.Org + "/inbox=" + k.Inbox + "/year=2026/month=11/day=23/" + k.Recording
	return func(e *state.Entry) {
		e.MediaKey = "recordings/media/" + place + ".webm"
		e.Versions = []state.Version{{
			DateModified: e.DateModified, Format: "WEBM",
			MediaKey: e.MediaKey, MediaVersionID: v1,
			ManifestKey: "recordings/manifests/" + place + ".json", ManifestVersionID: v2,
			Size: 1234567, SHA256: sha1, Checksum: "CRC32:3q2+7w==",
			ManifestSize: 2345, ManifestSHA256: sha2,
			RetentionMode: "COMPLIANCE", RetainUntil: time.Date(2036, 11, 24, 0, 0, 0, 0, time.UTC),
			ArchivedAt: at,
		}}
	}
}

// BenchmarkLedgerBytes fills ledgers like first runs, listing and then archiving every
// inbox, and reports the bytes of an archived entry on disk.
func BenchmarkLedgerBytes(b *testing.B) {
	const inboxes, recordings = 10, 10_000
	for b.Loop() {
		path := filepath.Join(b.TempDir(), "ledger")
		l, err := Open(path, Options{})
		if err != nil {
			b.Fatal(err)
		}
		l.db.NoSync = true
		i := newIDs()
		for range inboxes {
			fillInbox(b, l, i, i.uuid(), recordings)
		}
		info, err := os.Stat(path)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(info.Size())/(inboxes*recordings), "bytes/entry")
		if err := l.Check(); err != nil {
			b.Fatal(err)
		}
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func fillInbox(b *testing.B, l *Ledger, i ids, inbox string, n int) {
	keys := make([]state.Key, n)
	for j := range keys {
		keys[j] = state.Key{Org: "acme", Inbox: inbox, Recording: i.uuid()}
	}
	step := func(size int, change func(state.Key) state.Change) {
		for at := 0; at < n; at += size {
			err := l.List(b.Context(), "acme", inbox, nil, func(func(string) (state.Entry, bool)) []state.Change {
				var cs []state.Change
				for _, k := range keys[at:min(at+size, n)] {
					cs = append(cs, change(k))
				}
				return cs
			})
			if err != nil {
				b.Fatal(err)
			}
			if (at+size)%2000 == 0 {
				journalled(b, l, inbox)
			}
		}
	}
	step(100, func(k state.Key) state.Change {
		return state.Change{Recording: k.Recording, From: "", To: state.StateListed, Edit: typicalListed(i)}
	})
	step(8, func(k state.Key) state.Change {
		return state.Change{Recording: k.Recording, From: state.StateListed, To: state.StateArchived, Edit: typicalArchived(i, k)}
	})
}

// journalled drops the events, as a long pass does whenever it has written its journal.
func journalled(b *testing.B, l *Ledger, inbox string) {
	b.Helper()
	in, err := l.Inbox(b.Context(), "acme", inbox)
	if err != nil {
		b.Fatal(err)
	}
	events, err := l.Events(b.Context(), "acme", inbox, 2000)
	if err != nil {
		b.Fatal(err)
	}
	if err := l.MoveJournal(b.Context(), "acme", inbox, in.Journal, state.JournalHead{Key: "k"}, events); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkSearch searches a ledger of a million archived recordings in ten inboxes, of
// which each search finds few or shows a page.
func BenchmarkSearch(b *testing.B) {
	const inboxes, recordings = 10, 100_000
	l, err := Open(filepath.Join(b.TempDir(), "ledger"), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	l.db.NoSync = true
	i := newIDs()
	for range inboxes {
		fillInbox(b, l, i, i.uuid(), recordings)
	}
	k := state.Key{}
	stop := errors.New("stop")
	if err := l.Scan(b.Context(), "", "", func(at state.Key, _ *state.Entry) error { k = at; return stop }); err != stop {
		b.Fatal(err)
	}
	e, err := l.Move(b.Context(), k, state.StateArchived, state.StateArchived, func(e *state.Entry) {
		e.Name, e.Milliseconds = "Das Gespräch", 3_600_000
		e.Participants = append(e.Participants, state.Participant{Name: "Ann Émile", Address: "tel:+353161234567"})
	})
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name string
		q    state.Query
		want int
	}{
		{"conversation", state.Query{Selection: state.Selection{Conversation: e.ConversationID}}, 1},
		{"name", state.Query{Selection: state.Selection{Name: "GESPRÄCH"}}, 1},
		{"participant", state.Query{Selection: state.Selection{Participant: "émile"}}, 1},
		{"duration", state.Query{Selection: state.Selection{MinDuration: time.Hour}}, 1},
		{"size", state.Query{Selection: state.Selection{MaxSize: 1000}}, 0},
		{"state", state.Query{Selection: state.Selection{State: state.StateFailed}}, 0},
		{"case", state.Query{Selection: state.Selection{Case: "smith"}}, 0},
		{"day", state.Query{Selection: state.Selection{From: time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC), Name: "gespräch"}}, 1},
		{"id", state.Query{Selection: state.Selection{IDs: []string{k.Recording}}}, 1},
		{"page by size", state.Query{Sort: state.SortSize, Reverse: true, Skip: 100, Limit: 100}, 100},
		{"page by name", state.Query{Sort: state.SortName, Skip: 100, Limit: 100}, 100},
		{"first page", state.Query{Limit: 100}, 100},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				n := 0
				if err := l.Search(b.Context(), c.q, func(state.Key, *state.Entry) error { n++; return nil }); err != nil || n != c.want {
					b.Fatalf("%d found: %v", n, err)
				}
			}
		})
	}
}
