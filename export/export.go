// Package export copies selected recordings out of the archive, for people who do not have
// archiverd: counsel, a regulator, a court.
//
// An export is a folder, or a zip file of the same files:
//
//	index.html       the recordings on a page: read, sort, filter, play
//	index.csv        the same as a table, one line for each media file
//	statement.txt    what was selected, by whom and when, and what is not here and why
//	SHA256SUMS       of every other file, for sha256sum -c
//	selection.txt    what was selected, as the command had it
//	recordings/{organization}/{inbox}/{recording}/
//	    1.wav        media of the first archived version
//	    1.json       its manifest
//	    journal.jsonl    what the journal tells of the recording, one event on each line
//
// It promises:
//
//   - A file of a recording appears only whole, and only if its bytes have the SHA-256 that
//     the ledger names. A recording of which a file is missing or differs is told in the
//     statement, in the table and on the page.
//   - SHA256SUMS comes last. A folder without SHA256SUMS is an interrupted export: the same
//     export into the same folder keeps each file whose bytes are right and goes on. A zip
//     file appears only complete.
//   - Names of files hold only a-z, 0-9, '-', '_', '.' and '%', and no two differ only in
//     their case, so that every file system takes them.
//   - Nothing in the archive or in the ledger is changed.
package export

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/archiverd/archiverd/proof"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/tally"
)

// Options say what to export. All fields are required.
type Options struct {
	Bucket  bucket
	Prefix  string // of every key
	Workers int    // recordings at a time

	// Search calls f with the selected entries, inbox by inbox.
	Search func(ctx context.Context, f func(state.Key, *state.Entry) error) error

	Selection string    // for people: what was selected, in the words of the command
	Source    string    // for people: where the entries come from, and where the archive is
	By        string    // for people: who exports
	At        time.Time // when the export began
	Version   string    // of archiverd

	Log   *slog.Logger
	Tally *tally.Tally
}

type bucket interface {
	record.Bucket
	Check(ctx context.Context) error
}

// Result is what came of an export.
type Result struct {
	Selected int64 `json:"selected"` // recordings
	Exported int64 `json:"exported"` // recordings of which every file is there
	Lacking  int64 `json:"lacking"`  // recordings of which a file is not there
	Damaged  int64 `json:"damaged"`  // of those: recordings of which an object is missing in the store, or differs
	Journals int64 `json:"journals"` // faults of the inboxes' journals
	Files    int64 `json:"files"`    // of media
	Bytes    int64 `json:"bytes"`    // of media
}

// batch is how many recordings of an inbox are exported by one reading of its journal, and
// so held in memory.
const batch = 1000

// Run exports the selected recordings to a Folder or a Zip. It returns an error if the
// export could not be completed: unless the error says otherwise, repeat it. What is wrong
// with single recordings is in the Result alone.
func Run(ctx context.Context, o Options, to Destination) (*Result, error) {
	x := &export{Options: o, to: to, reading: proof.Reading{Bucket: o.Bucket, Log: o.Log}}
	err := to.begin(o.Selection + "\n")
	if err == nil {
		err = x.whole(ctx)
	}
	if err = errors.Join(err, to.end(err == nil)); err != nil {
		return nil, err
	}
	return &x.result, nil
}

func (x *export) whole(ctx context.Context) (err error) {
	if x.index, err = newIndex(x.to, &x.Options); err != nil {
		return err
	}
	if err = x.all(ctx); err == nil {
		err = x.to.clean()
	}
	if err != nil {
		return errors.Join(err, x.index.drop())
	}
	return x.index.end(&x.result)
}

type export struct {
	Options
	to      Destination
	reading proof.Reading
	index   *index
	result  Result
}

// selected is one recording on its way.
type selected struct {
	key    state.Key
	entry  *state.Entry
	events []journalLine
	row    row
}

// all exports what Search finds, in batches of one inbox each.
func (x *export) all(ctx context.Context) error {
	var waiting []*selected
	err := x.Search(ctx, func(k state.Key, e *state.Entry) error {
		if n := len(waiting); n == batch || n > 0 && (waiting[0].key.Org != k.Org || waiting[0].key.Inbox != k.Inbox) {
			if err := x.batch(ctx, waiting); err != nil {
				return err
			}
			waiting = waiting[:0]
		}
		x.Tally.Found.Add(1)
		waiting = append(waiting, &selected{key: k, entry: e})
		return nil
	})
	if err == nil && len(waiting) > 0 {
		err = x.batch(ctx, waiting)
	}
	return err
}

// batch exports recordings of one inbox, side by side, and writes them into the index in
// their order.
func (x *export) batch(ctx context.Context, all []*selected) error {
	if err := x.readJournal(ctx, all); err != nil {
		return err
	}
	g, each := errgroup.WithContext(ctx)
	g.SetLimit(x.Workers)
	for _, s := range all {
		g.Go(func() error {
			err := x.recording(each, s)
			x.Tally.Checked.Add(1)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, s := range all {
		x.count(&s.row)
		if err := x.index.add(&s.row); err != nil {
			return err
		}
	}
	return nil
}

func (x *export) count(r *row) {
	x.result.Selected++
	for _, v := range r.Versions {
		if v.Media.Name != "" && !v.shared {
			x.result.Files++
			x.result.Bytes += v.Media.Size
		}
	}
	if r.Lacks == "" {
		x.result.Exported++
		return
	}
	x.result.Lacking++
	if r.damaged {
		x.result.Damaged++
	}
}
