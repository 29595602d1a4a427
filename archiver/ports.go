package archiver

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// The interfaces of what a pass uses. *genesys.Client, *genesys.Links, *genesys.Tokens,
// *storage.Bucket and *bolt.Ledger implement them.

type recordingsAPI interface {
	Recordings(ctx context.Context, p genesys.ListParams) (*genesys.Listing, error)
	Summary(ctx context.Context) (*genesys.Summary, error)
	Reserve(ctx context.Context) (*genesys.Reservation, error)
	Recording(ctx context.Context, id string, expand ...string) (*genesys.Recording, error)
	Download(ctx context.Context, reserved *genesys.Reservation, api genesys.DownloadAPI, id string, f genesys.Format) (*genesys.Download, error)
	DeleteRecording(ctx context.Context, id string) error
	Skew() (time.Duration, bool)
}

// identity knows whose token is used for an inbox.
type identity interface {
	Confirmed() bool // users/me named the inbox's user since the last renewal
	Me(ctx context.Context, expand ...string) (*genesys.User, error)
}

type linkOpener interface {
	Open(ctx context.Context, link string, at genesys.Position) (*genesys.Media, error)
}

type creator interface {
	Put(ctx context.Context, n storage.New, body []byte, sha256 [32]byte) (storage.Object, error)
	Create(ctx context.Context, n storage.New) (*storage.Upload, error)
	AbortUpload(ctx context.Context, key, id string) error
	PutCorrupt(ctx context.Context, key string) error
}

type retainer interface {
	Retain(ctx context.Context, key, versionID string, r storage.Retention) error
	SetHold(ctx context.Context, key, versionID string, on bool) error
}

type reader interface {
	Head(ctx context.Context, key, versionID string) (storage.Object, error)
	Get(ctx context.Context, key, versionID string) (io.ReadCloser, storage.Object, error)
	Skew() (time.Duration, bool)
}

// catalog lists the objects below a prefix, and the uploads under way there.
type catalog interface {
	Uploads(ctx context.Context, prefix string) iter.Seq2[storage.Begun, error]
	ListAfter(ctx context.Context, prefix, after string) iter.Seq2[storage.Object, error]
}

type objects interface {
	creator
	retainer
	reader
	catalog
}

type entries interface {
	Entry(ctx context.Context, k state.Key) (state.Entry, error)
	Move(ctx context.Context, k state.Key, from, to state.State, edit func(*state.Entry)) (state.Entry, error)
	Archived(ctx context.Context, org, inbox string, recordings []string) (modified []string, err error)
	Live(ctx context.Context, org, inbox, after string, limit int, skip func(recording string) bool) ([]state.KeyedEntry, error)
}

type scanner interface {
	Scan(ctx context.Context, org, inbox string, f func(state.Key, *state.Entry) error) error
	ScanWaiting(ctx context.Context, org, inbox string, f func(state.Key, *state.Entry) error) error
}

type inboxes interface {
	Inbox(ctx context.Context, org, id string) (state.Inbox, error)
	Claim(ctx context.Context, org, inbox string) (state.Claim, error)
	Waiting(ctx context.Context, org, inbox, after string, limit int) ([]state.KeyedEntry, error)
}

type journals interface {
	Events(ctx context.Context, org, inbox string, limit int) ([]state.Event, error)
}

// uploadLog keeps the uploads under way; a claim has it too.
type uploadLog interface {
	AddUpload(ctx context.Context, u state.UploadRef) error
	RemoveUpload(ctx context.Context, key, id string) error
}

type uploads interface {
	uploadLog
	Uploads(ctx context.Context, org, inbox string) ([]state.UploadRef, error)
}

// observer is called when something happens. Its methods are called concurrently, and the
// caller waits for them.
type observer interface {
	PassEnded(InboxReport)
	Retried() // a request to Genesys is sent once more
}

type ledger interface {
	entries
	scanner
	inboxes
	journals
	uploads
	ID() string
}
