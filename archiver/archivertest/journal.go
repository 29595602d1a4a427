package archivertest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
)

// Journal reads the inbox's journal, with what is wrong with it, and holds every
// object to the published schema.
func (r *World) Journal() (objects []*record.Journal, faults []record.JournalFault) {
	r.T.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	schema, err := c.Compile("../docs/journal.schema.json")
	if err != nil {
		r.T.Fatal(err)
	}
	in, err := r.Ledger.Inbox(context.Background(), Org, r.User.ID)
	if err != nil {
		r.T.Fatal(err)
	}
	faults, err = record.Chain{Bucket: r.Store(), Keys: record.Keys{Prefix: "genesys", Org: Org, Inbox: r.User.ID}}.Walk(r.T.Context(), in.Journal, func(at state.JournalHead, j *record.Journal) error {
		objects = append(objects, j)
		text := r.Read(at.Key)
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err == nil {
			err = schema.Validate(v)
		}
		if err != nil || bytes.Count(text, []byte("\n")) != 1 {
			r.T.Errorf("%s: %v\n%.2000s", at.Key, err, text)
		}
		return nil
	})
	if err != nil {
		r.T.Fatal(err)
	}
	return objects, faults
}

// Changes are the journal's events, as "rec-01 listed→archived".
func Changes(objects []*record.Journal) (all []string) {
	for _, j := range objects {
		for _, e := range j.Events {
			all = append(all, fmt.Sprintf("%s %s→%s", e.Recording, e.From, e.To))
		}
	}
	return all
}

// WantJournal insists on an unbroken chain that tells these events and no others,
// and on a ledger that has no more to tell.
func (r *World) WantJournal(want ...string) []*record.Journal {
	r.T.Helper()
	objects, faults := r.Journal()
	if len(faults) > 0 {
		r.T.Errorf("the journal is broken: %+v", faults)
	}
	WantSame(r.T, "the journal's events", Changes(objects), want)
	if left, err := r.Ledger.Events(context.Background(), Org, r.User.ID, 10); err != nil || len(left) > 0 {
		r.T.Errorf("the ledger still has events: %+v, %v", left, err)
	}
	return objects
}

// Retain sets a lock's end, also to an earlier one.
func (r *World) Retain(key string, until time.Time) {
	r.T.Helper()
	_, err := r.Server.Client().PutObjectRetention(r.T.Context(), &s3.PutObjectRetentionInput{
		Bucket: &r.Bucket, Key: &key, BypassGovernanceRetention: aws.Bool(true),
		Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeGovernance, RetainUntilDate: &until},
	})
	if err != nil {
		r.T.Fatal(err)
	}
}

// Journal0 reads the journal without holding it to its schema.
func (r *World) Journal0() (all []*record.Journal, faults []record.JournalFault) {
	r.T.Helper()
	in, err := r.Ledger.Inbox(context.Background(), Org, r.User.ID)
	if err != nil {
		r.T.Fatal(err)
	}
	faults, err = record.Chain{Bucket: r.Store(), Keys: record.Keys{Prefix: "genesys", Org: Org, Inbox: r.User.ID}}.Walk(r.T.Context(), in.Journal, func(_ state.JournalHead, j *record.Journal) error {
		all = append(all, j)
		return nil
	})
	if err != nil {
		r.T.Fatal(err)
	}
	return all, faults
}

// Later is the key of a journal object of an hour later.
func Later(key string) string {
	t, _ := record.JournalStart(key)
	return strings.Replace(key, t.Format(record.JournalTime), t.Add(time.Hour).Format(record.JournalTime), 1)
}

func (r *World) Remove(key string) {
	r.T.Helper()
	if _, err := r.Server.Client().DeleteObject(context.Background(), &s3.DeleteObjectInput{Bucket: &r.Bucket, Key: &key}); err != nil {
		r.T.Fatal(err)
	}
}

func (r *World) Overwrite(key string, text []byte) {
	r.T.Helper()
	_, err := r.Server.Client().PutObject(context.Background(), &s3.PutObjectInput{
		Bucket: &r.Bucket, Key: &key, Body: bytes.NewReader(text), ContentLength: aws.Int64(int64(len(text))),
	})
	if err != nil {
		r.T.Fatal(err)
	}
}

// Spoil puts other bytes in an object's place, with its metadata.
func (r *World) Spoil(key string) {
	r.T.Helper()
	client, ctx := r.Server.Client(), context.Background()
	was, err := client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &r.Bucket, Key: &key})
	if err != nil {
		r.T.Fatal(err)
	}
	body, err := io.ReadAll(Flip(io.NopCloser(bytes.NewReader(r.Read(key)))))
	if err == nil {
		_, err = client.PutObject(ctx, &s3.PutObjectInput{Bucket: &r.Bucket, Key: &key, Metadata: was.Metadata, Body: bytes.NewReader(body)})
	}
	if err != nil {
		r.T.Fatal(err)
	}
}

// Replace alters a part of an object.
func (r *World) Replace(key, old, text string) {
	r.T.Helper()
	was := r.Read(key)
	if !bytes.Contains(was, []byte(old)) {
		r.T.Fatalf("no %s in %s", old, was)
	}
	r.Overwrite(key, bytes.ReplaceAll(was, []byte(old), []byte(text)))
}

func (r *World) RemoveAll(kind string) {
	for _, key := range r.Objects(kind) {
		r.Remove(key)
	}
}
