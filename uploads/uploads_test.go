package uploads_test

import (
	"bytes"
	"io"
	"net/http"
	"regexp"
	"testing"
	"time"

	"github.com/archiverd/archiverd/archiver/archivertest"
	"github.com/archiverd/archiverd/proof"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/statetest"
	"github.com/archiverd/archiverd/storage"
	"github.com/archiverd/archiverd/uploads"
)

func TestMain(m *testing.M) { archivertest.Main(m) }

// left begins an upload and leaves it as a crash would.
func left(r *archivertest.World, u *uploads.Uploader, inbox string) {
	r.T.Helper()
	statetest.Must(r.T, r.Ledger.EditInbox(r.T.Context(), archivertest.Org, inbox, func(i *state.Inbox) { i.OwnerClaimed = true }))
	claim, err := r.Ledger.Claim(r.T.Context(), archivertest.Org, inbox)
	statetest.Must(r.T, err)
	_, err = u.Begin(r.T.Context(), claim, storage.New{Key: key(inbox, "known")})
	statetest.Must(r.T, err)
	statetest.Must(r.T, claim.Release(r.T.Context()))
}

func key(inbox, id string) string {
	return record.Keys{Prefix: "genesys", Org: archivertest.Org, Inbox: inbox}.Media(id, "", "WAV")
}

var initiated = regexp.MustCompile(`<Initiated>[^<]*`)

// begunYesterday has the store say so of every upload that it lists.
func begunYesterday(_ string, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
	resp, err := send()
	if err != nil || req.Method != http.MethodGet || !req.URL.Query().Has("uploads") {
		return resp, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	text = initiated.ReplaceAll(text, []byte("<Initiated>"+time.Now().Add(-25*time.Hour).UTC().Format(time.RFC3339)))
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	resp.Header.Del("Content-Length")
	return resp, err
}

// A run aborts the uploads of inboxes that it does not pass over, and an old upload of its own
// inboxes that the ledger does not know. The pass aborts those of its inbox. The ledger
// forgets an upload after two aborts.
func TestEveryUploadEnds(t *testing.T) {
	t.Parallel()
	r, ctx := archivertest.New(t, archivertest.Checking, false), t.Context()
	b := r.Store()
	_, _, u, _ := r.Parts(b, proof.Retention{})
	const mine, other = archivertest.UserID, "other"
	left(r, u, mine)
	left(r, u, other)
	for _, inbox := range []string{mine, other} {
		_, err := b.Create(ctx, storage.New{Key: key(inbox, "unknown")})
		statetest.Must(t, err)
	}
	want := func(when string, inStore, inLedger int) {
		t.Helper()
		known, err := r.Ledger.Uploads(ctx, "", "")
		if n := r.Uploads(); err != nil || n != inStore || len(known) != inLedger {
			t.Errorf("%s: %d uploads are under way, the ledger has %d, %v", when, n, len(known), err)
		}
	}
	run := []uploads.Inbox{{Org: archivertest.Org, ID: mine}}
	want("before", 4, 2)
	statetest.Must(t, u.Sweep(ctx, run))
	want("a sweep", 3, 2)
	statetest.Must(t, u.Sweep(ctx, run))
	want("another sweep", 3, 1)

	r.Wire.Use(begunYesterday)
	statetest.Must(t, u.Sweep(ctx, run))
	want("a sweep a day later", 2, 1)
	r.Wire.Use(nil)

	claim, err := r.Ledger.Claim(ctx, archivertest.Org, mine)
	statetest.Must(t, err)
	for inLedger := range 2 {
		statetest.Must(t, u.AbortLeft(ctx, claim, run[0]))
		want("the pass", 1, 1-inLedger)
	}
}
