// Package tally counts what a command has done so far, for those who show its progress.
package tally

import "sync/atomic"

// Tally is what a run, a verification, a reconciliation or a rebuild has done so far. All
// counters may be read and changed at any time.
type Tally struct {
	Found    atomic.Int64 // recordings that wait for a transfer, or are to be checked
	Archived atomic.Int64
	Failed   atomic.Int64
	Checked  atomic.Int64 // against the bucket
	Deleted  atomic.Int64 // deletions requested
	Bytes    atomic.Int64 // of media downloaded, or read back

	Inboxes, InboxesDone atomic.Int64
}

// Begin starts a run over so many inboxes.
func (t *Tally) Begin(inboxes int) {
	for _, c := range []*atomic.Int64{&t.Found, &t.Archived, &t.Failed, &t.Deleted, &t.Bytes, &t.InboxesDone} {
		c.Store(0)
	}
	t.Inboxes.Store(int64(inboxes))
}
