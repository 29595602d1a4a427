// Package state keeps archiverd's ledger: what is known of every recording of
// every inbox, in one bbolt file.
//
// The ledger promises:
//
//   - A method that changes it returns nil only once the change is durable, and
//     an error only where nothing of the change was made. (When the disk itself
//     fails during the write, the error may come with the change made: read the
//     entry again. The file stays whole in any case.)
//   - An entry changes only along an edge of the table in edges.go, and only
//     from the state its caller believed it in: a compare-and-set. An entry
//     that says archived names at least one version with its keys, size and
//     SHA-256, and these never change or disappear.
//   - The counters of an inbox change in the transaction that changes its
//     entries, so that reading them walks nothing. So do its events: each
//     change of an entry's state is there until MoveJournal drops it.
//   - One process holds the file for writing. A file that is no ledger, a newer
//     one, or one bound to another archive is refused and left as it was.
//   - With a seal key, no token is anywhere in the file in the clear, not even
//     in the pages that were freed when sealing was turned on.
//   - Everything handed out belongs to the caller.
//
// All methods may be called concurrently, and none but List and Check hold
// others up for longer than a write takes. No callback may call the ledger,
// but for Scan's.
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
//	    {org/inbox}     JSON Token, or that sealed with AES-256-GCM
//	live                listed, failed, archived, delete_requested
//	    {org/inbox}
//	        {recording} JSON Entry without its Raw, deflated: see codec
//	past                deleted, gone, vanished: a pass never walks these
//	    {org/inbox}
//	        {recording} as in live; a recording is in one of the two
//	raw                 of entries that have it: until they are archived
//	    {org/inbox}
//	        {recording} the recording as listed, byte for byte
//	events              what the archive's journal does not have yet: changes of state and bad keys, faults of it accepted
//	    {org/inbox}     its sequence is the number of the last event
//	        {number}    eight bytes, big endian: JSON Event, a line end, the recording if any
//	passes
//	    {org/inbox}     the last 100
//	        {start}     JSON Pass; the key sorts by time
//	runs                the last 100
//	    {start}         JSON Run
//	uploads             multipart uploads under way
//	    {key NUL id}    JSON UploadRef
//
// Organizations are named [a-z0-9-]+, so the first slash ends one; ids of
// inboxes and recordings are any bytes, up to bbolt's limit on keys.
package state

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
)

// Errors that callers tell apart, with errors.Is.
var (
	ErrHeld      = errors.New("the ledger is held by another process")
	ErrNotLedger = errors.New("not a ledger")
	ErrDamaged   = errors.New("the ledger is damaged")
	ErrNewer     = errors.New("the ledger was written by a newer archiverd")
	ErrNoLedger  = errors.New("there is no ledger")
	ErrSealKey   = errors.New("the ledger's tokens need the seal key they were sealed with")
	ErrNotFound  = errors.New("not in the ledger")
	ErrEdge      = errors.New("no such change of state")
	ErrInvalid   = errors.New("invalid entry")
)

// maxKey is bbolt's limit on a key, in bytes.
const maxKey = bbolt.MaxKeySize

// fill is how full bbolt leaves a page that it splits. Ids are random, so new
// entries come anywhere; first runs archive them in order. This suits both:
// BenchmarkLedgerBytes.
const fill = 0.7

// buckets are those of the top level.
var buckets = [...]string{"meta", "inboxes", "tokens", "live", "past", "raw", "events", "passes", "runs", "uploads"}

// Ledger is an open ledger. It is safe for concurrent use.
type Ledger struct {
	db       *bbolt.DB
	file     *os.File // db's
	id       string
	readOnly bool
	seal     *sealer // nil: tokens are kept in the clear
	now      func() time.Time
	codec    codec

	broken  atomic.Pointer[error] // how the file was found to be damaged
	writing sync.Mutex            // held by the transaction that writes
	waiting sync.Mutex            // guards calls
	calls   []call                // of batch
}

// ID is the ledger's own random id, made with the file: its claim on inboxes.
func (l *Ledger) ID() string { return l.id }

// Disk tells the size of the ledger's file and what its file system has left, in
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

// inboxKey names an inbox in the file.
func inboxKey(org, inbox string) (string, error) {
	if org == "" || strings.Trim(org, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return "", fmt.Errorf("organization %q: want letters a-z, digits and '-'", org)
	}
	k := org + "/" + inbox
	if err := checkLen("inbox", inbox, maxKey-len(org)-1); err != nil {
		return "", err
	}
	return k, nil
}

func checkLen(what, id string, max int) error {
	switch {
	case id == "":
		return fmt.Errorf("the id of the %s is empty", what)
	case len(id) > max:
		return fmt.Errorf("the id of the %s has %d bytes; the ledger takes %d", what, len(id), max)
	}
	return nil
}

func splitKey(k []byte) (org, inbox string) {
	org, inbox, _ = strings.Cut(string(k), "/")
	return org, inbox
}

// nested is the bucket of one inbox in a bucket of the top level; nil if there
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
	data, err := marshal(v)
	if err != nil {
		return err
	}
	return b.Put([]byte(key), data)
}
