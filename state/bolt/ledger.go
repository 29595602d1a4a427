// Package bolt keeps a ledger in one bbolt file, by the contract of package state.
//
// In addition to that contract the file promises:
//
//   - Only one process holds the file for writing. Open refuses, and does not change,
//     a file that is not a ledger, is newer, or is bound to another archive.
//   - With a seal key, the file holds no token in the clear, not even in the pages
//     that were freed when sealing was turned on.
//
// Only List and Check block other methods for longer than a write takes. Concurrent
// Moves and AddPasses share a transaction and its fsync; if one fails, the others
// succeed.
//
// The file, bucket in bucket, {} standing for keys made of data:
//
//	meta                what the file is
//	    schema          version of this drawing, in decimal
//	    ledger          random id, made with the file
//	    created         when, RFC 3339
//	    binding         the archive and organizations it belongs to: JSON Binding
//	    seal            with a seal key only: JSON seal
//	inboxes
//	    {org/inbox}     JSON Inbox, with the counters
//	tokens
//	    {org/inbox}     JSON Token, sealed with AES-256-GCM if there is a seal key
//	live                listed, failed, archived, delete_requested
//	    {org/inbox}
//	        {recording} JSON Entry without its Raw, deflated: see codec.Entries
//	past                deleted, gone, vanished, waived, erased, expired: a pass never walks these
//	    {org/inbox}
//	        {recording} as in live; a recording is in one of the two
//	search              the index for Search: see index.go
//	    {org/inbox}
//	        {date, recording} a row
//	raw                 Raw of entries that are not archived yet
//	    {org/inbox}
//	        {recording} the recording as listed, byte for byte
//	events              events that the archive's journal does not have yet
//	    {org/inbox}     the bucket's sequence is the number of the last event
//	        {number}    eight bytes, big endian: JSON Event, a line end, the recording if any
//	passes
//	    {org/inbox}     the last 100
//	        {start}     JSON Pass; the key sorts by time
//	runs                the last 100
//	    {start id}      JSON Run; without an id if an earlier version wrote it
//	uploads             multipart uploads under way
//	    {key NUL id}    JSON UploadRef
//
// Names of organizations match [a-z0-9-]+, so the first slash ends the name; ids of
// inboxes and recordings are any bytes, up to bbolt's limit on keys.
package bolt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/codec"
	"go.etcd.io/bbolt"
)

// Errors of Open that callers branch on, with errors.Is.
var (
	ErrHeld      = errors.New("the ledger is held by another process")
	ErrNotLedger = errors.New("not a ledger")
)

// fill is how full bbolt leaves a page that it splits. New entries have random ids
// and go into any page; first runs archive entries in order. This value suits both:
// BenchmarkLedgerBytes.
const fill = 0.7

// buckets are the buckets of the top level.
var buckets = [...]string{"meta", "inboxes", "tokens", "live", "past", "search", "raw", "events", "passes", "runs", "uploads"}

// Ledger is an open ledger. It is safe for concurrent use.
type Ledger struct {
	db       *bbolt.DB
	file     *os.File // db's
	id       string
	readOnly bool
	seal     *codec.Sealer // nil: tokens are kept in the clear
	now      func() time.Time
	entries  codec.Entries

	broken  atomic.Pointer[error] // the damage, once the file was found to be damaged
	writing sync.Mutex            // held by the transaction that writes
	sharing sync.Mutex            // held by the caller that makes others' calls too
	waiting sync.Mutex            // guards calls
	calls   []call                // calls of batch that wait for a transaction

	claiming sync.Mutex // guards the next two
	claims   map[string]*claim
	claimed  int64 // claims that were made since the file was opened
}

// ID implements state.Ledger.
func (l *Ledger) ID() string { return l.id }

// Disk returns the size of the ledger's file and the free space of its file system, in
// bytes.
func (l *Ledger) Disk() (size, free int64, err error) {
	info, err := os.Stat(l.db.Path())
	if err != nil {
		return 0, 0, fmt.Errorf("look at ledger: %w", err)
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(l.db.Path(), &fs); err != nil {
		return 0, 0, fmt.Errorf("look at the file system of ledger %s: %w", l.db.Path(), err)
	}
	return info.Size(), int64(fs.Bavail) * int64(fs.Bsize), nil
}

// Copy writes a copy of the whole file in its present state, while others read and
// write the ledger. The copy has the same id, binding and seal. A write that needs a
// larger file waits until the copy is done.
func (l *Ledger) Copy(w io.Writer) error {
	err := l.read(func(tx *bbolt.Tx) error {
		_, err := tx.WriteTo(w)
		return err
	})
	if err != nil {
		return fmt.Errorf("copy ledger: %w", err)
	}
	return nil
}

// A transaction runs a function in one transaction of the file, unless ctx has ended.
type transaction func(ctx context.Context, f func(*bbolt.Tx) error) error

func (l *Ledger) view(ctx context.Context, f func(*bbolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return l.read(f)
}

func (l *Ledger) update(ctx context.Context, f func(*bbolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return l.write(f)
}

// batch is update in a transaction shared with other goroutines. f may run more than once.
func (l *Ledger) batch(ctx context.Context, f func(*bbolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return l.writeTogether(f)
}

// inboxKey returns the key of an inbox in the file.
func inboxKey(org, inbox string) (string, error) {
	return org + "/" + inbox, state.CheckInbox(org, inbox)
}

func splitKey(k []byte) (org, inbox string) {
	org, inbox, _ = strings.Cut(string(k), "/")
	return org, inbox
}

// nested returns the bucket of one inbox in a bucket of the top level; nil if there
// is none and the transaction may not write.
func nested(tx *bbolt.Tx, top, inbox string) (*bbolt.Bucket, error) {
	b := tx.Bucket([]byte(top))
	in := b.Bucket([]byte(inbox))
	if in == nil && tx.Writable() {
		var err error
		if in, err = b.CreateBucket([]byte(inbox)); err != nil {
			return nil, fmt.Errorf("create bucket in %s: %w", top, err)
		}
	}
	if in != nil {
		in.FillPercent = fill
	}
	return in, nil
}

func putJSON(b *bbolt.Bucket, key string, v any) error {
	data, err := codec.Marshal(v)
	if err != nil {
		return err
	}
	return b.Put([]byte(key), data)
}
