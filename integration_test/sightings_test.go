package integration_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"hash/crc32"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/archiverd/archiverd/storage"
	"github.com/archiverd/archiverd/storage/storagetest"
)

// onlooker tries a server for what archiverd leans on, and says what it saw in the
// words of docs/stores.md.
type onlooker struct {
	*testing.T
	s3             *storagetest.Server
	plain, locking string // buckets: without versions, and with Object Lock
}

func newOnlooker(t *testing.T, s *storagetest.Server) onlooker {
	return onlooker{t, s, s.NewBucket(t, false), s.NewBucket(t, true)}
}

// cells are in the order of the table's columns.
func (o onlooker) cells() []string {
	return []string{o.createOnly("create", o.put), o.createOnly("create-parts", o.upload), o.checked(), o.shown(), o.locks(), o.holds(), o.versions(), o.lifecycle(), o.readBack()}
}

func (o onlooker) open(bucket string, edit ...func(*storage.Options)) *storage.Bucket {
	o.Helper()
	options := o.s3.Options(bucket)
	for _, f := range edit {
		f(&options)
	}
	b, err := storage.Open(o.Context(), options)
	o.must(err)
	return b
}

func (o onlooker) must(err error) {
	o.Helper()
	if err != nil {
		o.Fatal(err)
	}
}

// creator makes an object in one of two ways.
type creator func(b *storage.Bucket, n storage.New, body string) (storage.Object, error)

func (o onlooker) put(b *storage.Bucket, n storage.New, body string) (storage.Object, error) {
	return b.Put(o.Context(), n, []byte(body), sha256.Sum256([]byte(body)))
}

func (o onlooker) upload(b *storage.Bucket, n storage.New, body string) (storage.Object, error) {
	u, err := b.Create(o.Context(), n)
	if err == nil {
		err = u.Part(o.Context(), []byte(body))
	}
	if err != nil {
		return storage.Object{}, err
	}
	return u.Complete(o.Context(), crc32.ChecksumIEEE([]byte(body)))
}

// made is an object that had to be possible.
func (o onlooker) made(create creator, bucket string, n storage.New) storage.Object {
	o.Helper()
	b := o.open(bucket)
	_, err := create(b, n, "made")
	o.must(err)
	obj, err := b.Head(o.Context(), n.Key, "") // which tells what the reply may not
	o.must(err)
	return obj
}

func (o onlooker) createOnly(key string, create creator) string {
	refused := map[string]bool{}
	for _, bucket := range []string{o.plain, o.locking} {
		n := storage.New{Key: key}
		o.made(create, bucket, n)
		_, err := create(o.open(bucket), n, "again")
		if refused[bucket] = errors.Is(err, storage.ErrExists); !refused[bucket] {
			o.must(err)
		}
	}
	switch {
	case refused[o.plain] && refused[o.locking]:
		return "yes"
	case refused[o.plain]:
		return "not beside versions"
	}
	return "no"
}

func (o onlooker) checked() string {
	refuses := func(b *storage.Bucket, key string) bool {
		err := b.PutCorrupt(o.Context(), key)
		if !errors.Is(err, storage.ErrChecksum) {
			o.must(err)
		}
		return err != nil
	}
	switch {
	case refuses(o.open(o.plain), "wrong"):
		return "yes"
	case refuses(o.open(o.plain, func(s *storage.Options) { s.Checksum = "md5" }), "wrong-md5"):
		return "Content-MD5 alone"
	}
	return "no"
}

func (o onlooker) shown() string {
	put := o.made(o.put, o.plain, storage.New{Key: "shown"})
	uploaded := o.made(o.upload, o.plain, storage.New{Key: "shown-parts"})
	switch none := (storage.Checksum{}); {
	case put.Checksum != none && uploaded.Checksum != none:
		return "yes"
	case put.Checksum != none:
		return "not of parts"
	}
	return "no"
}

// soon is a lock that ends, so that the tests' disks can be cleared one day.
func soon() storage.Retention {
	return storage.Retention{Mode: "COMPLIANCE", Until: time.Now().Add(time.Hour).UTC().Truncate(time.Second)}
}

func (o onlooker) locks() string {
	withstands := func(create creator, key string) bool {
		obj := o.made(create, o.locking, storage.New{Key: key, Retention: soon()})
		return storage.NewProbe(o.open(o.locking)).Delete(o.Context(), key, obj.VersionID, true) != nil
	}
	switch put, parts := withstands(o.put, "lock"), withstands(o.upload, "lock-parts"); {
	case put && parts:
		return "yes"
	case put:
		return "not for parts"
	}
	return "no"
}

// holds wants a hold to keep what has no retention, and what had one that ended: of two
// objects with the same end, only that without a hold can be deleted after it.
func (o onlooker) holds() string {
	short := storage.Retention{Mode: "GOVERNANCE", Until: time.Now().Add(5 * time.Second)}
	free := o.made(o.put, o.locking, storage.New{Key: "free", Retention: short})
	ended := o.held("ended", short)
	unlocked := o.held("unlocked", storage.Retention{})
	p := storage.NewProbe(o.open(o.locking))
	if p.Delete(o.Context(), unlocked.Key, unlocked.VersionID, true) == nil {
		return "no"
	}
	for until := time.Now().Add(time.Minute); ; {
		if p.Delete(o.Context(), free.Key, free.VersionID, false) == nil {
			break
		}
		if time.Now().After(until) {
			o.Fatal("a lock of five seconds holds for a minute")
		}
	}
	if p.Delete(o.Context(), ended.Key, ended.VersionID, false) == nil {
		return "until the lock ends"
	}
	return "yes"
}

func (o onlooker) held(key string, r storage.Retention) storage.Object {
	obj := o.made(o.put, o.locking, storage.New{Key: key, Retention: r})
	o.must(o.open(o.locking).SetHold(o.Context(), key, obj.VersionID, true))
	return obj
}

func (o onlooker) overwritten(key string, r storage.Retention) (*storage.Bucket, storage.Object) {
	first := o.made(o.put, o.locking, storage.New{Key: key, Retention: r})
	b := o.open(o.locking)
	o.must(storage.NewProbe(b).Overwrite(o.Context(), key, []byte("other")))
	return b, first
}

func (o onlooker) versions() string {
	b, first := o.overwritten("version", storage.Retention{})
	r, _, err := b.Get(o.Context(), first.Key, first.VersionID)
	if errors.Is(err, storage.ErrNotFound) {
		return "no"
	}
	o.must(err)
	defer r.Close()
	var body bytes.Buffer
	_, err = body.ReadFrom(r)
	o.must(err)
	if body.String() != "made" {
		return "no"
	}
	return "yes"
}

func (o onlooker) lifecycle() string {
	_, err := o.s3.Client().PutBucketLifecycleConfiguration(o.Context(), &s3.PutBucketLifecycleConfigurationInput{
		Bucket: &o.plain,
		LifecycleConfiguration: &types.BucketLifecycleConfiguration{Rules: []types.LifecycleRule{{
			ID: aws.String("a year"), Status: types.ExpirationStatusEnabled,
			Filter: &types.LifecycleRuleFilter{Prefix: aws.String("expires")}, Expiration: &types.LifecycleExpiration{Days: aws.Int32(365)},
		}}},
	})
	if err != nil {
		return "no rules"
	}
	rules, err := storage.NewProbe(o.open(o.plain)).Lifecycle(o.Context())
	o.must(err)
	if len(rules) != 1 || rules[0].Expire == nil || rules[0].Expire.Days != 365 {
		return "rules can't be read"
	}
	if o.made(o.put, o.plain, storage.New{Key: "expires"}).Expires.IsZero() {
		return "rules, not announced"
	}
	return "yes"
}

func (o onlooker) readBack() string {
	want := soon()
	is := func(r storage.Retention) bool { return r.Mode == want.Mode && r.Until.Equal(want.Until) }
	b, first := o.overwritten("read-back", want)
	old, err := b.Head(o.Context(), first.Key, first.VersionID)
	o.must(err)
	asked, err := b.Retention(o.Context(), first.Key, first.VersionID)
	o.must(err)
	switch {
	case is(first.Retention) && is(old.Retention) && is(asked):
		return "yes"
	case is(first.Retention) && is(asked):
		return "HEAD: of the newest version"
	}
	return "no"
}
