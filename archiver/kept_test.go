package archiver

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/archiverd/archiverd/archiver/archivertest"
	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/media/mediatest"
	"github.com/archiverd/archiverd/state"
)

// changedSince lets a recording's metadata change after its manifest grew two days old,
// while its media stay.
func (r *rig) changedSince(id string) {
	r.T.Helper()
	r.Edit(id, func(e *state.Entry) { e.Versions[0].ArchivedAt = time.Now().Add(-48 * time.Hour) })
	r.User.Edit(id, func(x *genesystest.Recording) { x.Extra = map[string]any{"mediaState": "b"} })
}

func (r *rig) newest(id string) state.Version {
	e := r.Entry(id)
	return e.Newest()
}

// Media that somebody altered or removed are not given to a recording's next version: they
// are reported, and stored anew before the original is deleted.
func TestKeptMediaAreProvedAgain(t *testing.T) {
	for name, damage := range map[string]func(r *rig, key string) error{
		"altered": func(r *rig, key string) error {
			_, err := r.Server.Client().PutObject(t.Context(), &s3.PutObjectInput{Bucket: &r.Bucket, Key: &key, Body: strings.NewReader("altered by someone"), ChecksumAlgorithm: types.ChecksumAlgorithmSha256})
			return err
		},
		"missing": func(r *rig, key string) error {
			_, err := r.Server.Client().DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &r.Bucket, Key: &key})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, archivertest.Checking, false)
			id := r.Add(1)[0]
			r.passed()
			first := r.newest(id)
			want := r.Read(first.MediaKey)
			if err := damage(r, first.MediaKey); err != nil {
				t.Fatal(err)
			}
			r.changedSince(id)
			if report := r.pass(deleting); len(report.Corrupt) == 0 || len(r.Requests(opDelete)) > 0 {
				t.Errorf("reported are %q, deleted %q", report.Corrupt, r.Requests(opDelete))
			}
			r.pass(deleting)
			if v := r.newest(id); v.MediaKey == first.MediaKey || !bytes.Equal(r.Read(v.MediaKey), want) {
				t.Errorf("the archive has %s, and not the media that Genesys served", v.MediaKey)
			}
		})
	}
}

// A lock that somebody shortened is not taken over by a recording's next version.
func TestKeptMediaStayLocked(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, true)
	id := r.Add(1)[0]
	r.passed()
	v, soon := r.newest(id), time.Now().Add(2*time.Hour)
	_, err := r.Server.Client().PutObjectRetention(t.Context(), &s3.PutObjectRetentionInput{
		Bucket: &r.Bucket, Key: &v.MediaKey, VersionId: aws.String(v.MediaVersionID), BypassGovernanceRetention: aws.Bool(true),
		Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeGovernance, RetainUntilDate: &soon},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.changedSince(id)
	for range 2 {
		if report := r.pass(deleting); len(report.Corrupt) == 0 || len(r.Requests(opDelete)) > 0 {
			t.Errorf("reported are %q, deleted %q", report.Corrupt, r.Requests(opDelete))
		}
	}
	for _, v := range r.Entry(id).Versions {
		if time.Until(v.RetainUntil) < 24*time.Hour {
			t.Errorf("the ledger takes the lock until %s for right", v.RetainUntil)
		}
	}
}

// Two recordings that are always served the same media are suspect, also where the
// manifest of one is refused once: before anything is known of the other, or when it is
// known to be suspect.
func TestTwinThatFailedBetween(t *testing.T) {
	m, err := mediatest.New(mediatest.Spec{ID: "x", Format: "WAV", Duration: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	same, err := io.ReadAll(m.Reader())
	if err != nil {
		t.Fatal(err)
	}
	for name, refuses := range map[string]func(e state.Entry) bool{
		"first served": func(state.Entry) bool { return true },
		"asked again":  func(e state.Entry) bool { return e.TwinAsked },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, archivertest.Checking, false)
			ids := r.Add(2, func(x *genesystest.Recording) { x.Duration = 3 * time.Second })
			r.Cloud.Configure(func(o *genesystest.Options) { o.Serve = func(string, string) []byte { return same } })
			a, refused := r.archiver(), false
			r.Wire.Use(func(name string, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
				for _, id := range ids {
					if name == "PUT manifests" && !refused && strings.Contains(req.URL.Path, id) && refuses(r.Entry(id)) {
						refused = true
						return archivertest.Refuse(req), nil
					}
				}
				return send()
			})
			a.Run(context.Background(), context.Background(), []Inbox{r.in})
			r.Wire.Use(nil)
			if !refused {
				t.Fatal("no manifest was refused")
			}
			for range 3 {
				r.pass(deleting)
			}
			for _, id := range ids {
				if v := r.newest(id); v.Suspect == "" {
					t.Errorf("%s is not suspect: %+v", id, v)
				}
			}
			if deleted := r.Requests(opDelete); len(deleted) > 0 {
				t.Errorf("deleted %q", deleted)
			}
		})
	}
}

// While a recording of another inbox waits to be asked for once more, because it was served the
// media of one that is archived, the original of the archived one stays: nobody knows yet whose
// media they are.
func TestKeepsWhatAnotherWasServed(t *testing.T) {
	r := newRig(t, archivertest.Checking, false)
	id := r.Add(1)[0]
	r.pass()
	sum := r.newest(id).SHA256
	other := state.Key{Org: org, Inbox: "unreachable", Recording: "twin"}
	wait := func(from state.State, twin string) {
		t.Helper()
		if _, err := r.Ledger.Move(t.Context(), other, from, state.StateListed, func(e *state.Entry) { e.Twin = twin }); err != nil {
			t.Fatal(err)
		}
	}
	wait("", sum)
	r.pass(deleting)
	r.WantState(id, state.StateArchived)
	wait(state.StateListed, "")
	r.pass(deleting)
	r.WantState(id, state.StateDeleteRequested)
}

// Half transcodes of an earlier version are not counted for the next one.
func TestMismatchesAreOfOneVersion(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, false)
	id := r.Add(1, func(x *genesystest.Recording) { x.Duration = 5 * time.Second })[0]
	r.Cloud.Inject(genesystest.Fault{Op: opLink, Times: 2, Effect: genesystest.Shorten()})
	for range 3 {
		r.pass()
	}
	r.WantArchived(id)
	r.User.Change(id)
	r.Cloud.Inject(genesystest.Fault{Op: opLink, Times: 1, Effect: genesystest.Shorten()})
	r.pass()
	if e := r.Entry(id); e.State != state.StateFailed || len(e.Versions) != 1 {
		t.Errorf("after one half transcode the recording is %s, with %d versions", e.State, len(e.Versions))
	}
}

// Where Genesys has a page size of its own, a page that one recording breaks is reported.
func TestBrokenPageOfFixedSize(t *testing.T) {
	r := walkRig(t, func(o *genesystest.Options) { o.PageSize = func(_, _ int) int { return 10 } })
	r.in.PageSize = 10
	r.Add(50)
	all := r.User.IDs()
	r.Cloud.Configure(func(o *genesystest.Options) { o.Broken = map[string]int{all[15]: 400} })
	for range 2 {
		if report := r.pass(); report.Err == nil || !strings.Contains(report.Err.Error(), "numbers 11 to 20") {
			t.Errorf("the pass says %v", report.Err)
		}
	}
}

// A recording that another pass has asked for again, right before its deletion, is kept,
// and the run goes on.
func TestMovedBeforeDeletion(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, false)
	id := r.Add(1)[0]
	r.passed()
	r.Cloud.Inject(genesystest.Fault{Op: opGet, Effect: genesystest.Effect{Before: func(http.ResponseWriter, *http.Request) bool {
		_, err := r.Ledger.Move(context.Background(), r.Key(id), state.StateArchived, state.StateListed, func(e *state.Entry) { e.Twin = e.Newest().SHA256 })
		if err != nil {
			t.Error(err)
		}
		return false
	}}})
	if report := r.pass(deleting); report.Err != nil || len(r.Requests(opDelete)) > 0 {
		t.Errorf("the pass says %v, deleted %q", report.Err, r.Requests(opDelete))
	}
}
