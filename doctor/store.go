package doctor

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"hash/crc32"
	"io"
	"strings"
	"time"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/proof"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/storage"
)

// canaryText is the content of every object that the doctor makes.
const canaryText = "archiverd doctor tried this store with this object; it holds nothing else\n"

// Store tests the bucket. It leaves a few small objects below {prefix}/doctor/, with new keys
// each time.
func (d *Doctor) Store(ctx context.Context) []Check {
	v := visit{Doctor: d, dir: d.Prefix + "/doctor/" + time.Now().UTC().Format("20060102T150405Z-") + rand.Text()[:8]}
	if err := d.Bucket.Check(ctx); err != nil {
		v.fail("store.bucket", failKind(err), storeRemedy(err, "s3:ListBucket below the prefix"), "%v", err)
		return v.list
	}
	v.pass("store.bucket", "the bucket exists, and its prefix can be listed")
	v.credentials(ctx)
	v.clock("store.clock", "the store", d.Bucket.Skew)
	v.reads(ctx)
	if free, ok := v.createOnly(ctx); ok {
		v.checksum(ctx, free)
		v.encryption(free)
		v.deleteRight(ctx, free)
	}
	v.versioning(ctx)
	v.lock(ctx)
	v.holds(ctx)
	v.lifecycle(ctx)
	v.unchecked("store.policy", "archiverd can't see what the bucket's policy, its replication and others' credentials allow: "+
		"make sure that nobody can delete versions or change the lifecycle without your knowledge. "+
		"archiverd doctor --policy prints what archiverd's own credentials need, and what those of erase and dispose need")
	return v.list
}

// credentials reports where the credentials come from and when they end.
func (v *visit) credentials(ctx context.Context) {
	const name = "store.credentials"
	from, ends, err := v.Bucket.Credentials(ctx)
	switch {
	case err != nil:
		v.fail(name, failKind(err), storeRemedy(err, "nothing"), "they could be read before, and now can't: %v", err)
	case ends.IsZero():
		v.pass(name, "from %s; when they end is not known, and they are read again when the store refuses them", from)
	default:
		v.pass(name, "from %s; they end at %s, and are renewed before that", from, ends.UTC().Format(time.RFC3339))
	}
}

// visit is one examination of the bucket.
type visit struct {
	*Doctor
	findings
	dir string // the start of the keys of this examination
}

// reads lists and reads one object of each kind that archiverd reads again.
func (v *visit) reads(ctx context.Context) {
	const name = "store.read"
	var read []string
	for _, kind := range []string{"manifests", "journal", "owners"} {
		for o, err := range v.Bucket.ListAfter(ctx, v.Prefix+"/"+kind+"/", "") {
			if err != nil {
				v.fail(name, failKind(err), storeRemedy(err, "s3:ListBucket below the prefix"), "the archive can't be listed: %v", err)
				return
			}
			if err := v.readOne(ctx, o); err != nil {
				v.fail(name, failKind(err), storeRemedy(err, "s3:GetObject"), "the archive can't be read: %v", err)
				return
			}
			read = append(read, kind)
			break
		}
	}
	if read == nil {
		v.pass(name, "the archive can be listed; it holds no object to read yet")
		return
	}
	v.pass(name, "the archive can be listed, and one object each of its %s can be read", strings.Join(read, ", "))
}

func (v *visit) readOne(ctx context.Context, o storage.Object) error {
	r, _, err := v.Bucket.Get(ctx, o.Key, "")
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(r, record.MaxManifest))
	return err
}

// createOnly checks that the store refuses to create a key a second time, in one request and
// in parts. It returns the first object, and false if that could not be created.
func (v *visit) createOnly(ctx context.Context) (storage.Object, bool) {
	const name = "store.create_only"
	key, text := v.dir+"-create", []byte(canaryText)
	n := storage.New{Key: key, ContentType: "text/plain"}
	if _, err := v.Bucket.Put(ctx, n, text, sha256.Sum256(text)); err != nil {
		v.fail(name, failKind(err), storeRemedy(err, "s3:PutObject"), "an object can't be created: %v", err)
		return storage.Object{}, false
	}
	free, err := v.Bucket.Head(ctx, key, "")
	if err != nil {
		v.fail(name, failKind(err), storeRemedy(err, "s3:GetObject"), "a new object can't be looked at: %v", err)
		return storage.Object{}, false
	}
	_, again := v.Bucket.Put(ctx, n, text, sha256.Sum256(text))
	parts := v.upload(ctx, n, text)
	const remedy = "use a store that obeys If-None-Match (S3 does since 2024): on this one, two archiverds at work at the same time can overwrite each other's recordings"
	switch {
	case again == nil && parts == nil:
		v.fail(name, failure.KindIntegrity, remedy, "a second create replaced the first object, in one request and in parts")
	case again == nil:
		v.fail(name, failure.KindIntegrity, remedy, "a second create replaced the first object")
	case parts == nil:
		v.fail(name, failure.KindIntegrity, remedy, "a second create in parts replaced the first object")
	case !errors.Is(again, storage.ErrExists):
		v.fail(name, failKind(again), storeRemedy(again, "s3:PutObject"), "the second create failed, but not because the key exists: %v", again)
	case !errors.Is(parts, storage.ErrExists):
		v.fail(name, failKind(parts), storeRemedy(parts, "s3:PutObject"), "the second create in parts failed, but not because the key exists: %v", parts)
	default:
		v.pass(name, "a second create was refused, in one request and in parts")
	}
	return free, true
}

// upload creates an object in parts. If that fails, it aborts the upload.
func (v *visit) upload(ctx context.Context, n storage.New, body []byte) error {
	u, err := v.Bucket.Create(ctx, n)
	if err != nil {
		return err
	}
	if err = u.Part(ctx, body); err == nil {
		_, err = u.Complete(ctx, crc32.ChecksumIEEE(body))
	}
	if err != nil {
		err = errors.Join(err, u.Abort(ctx))
	}
	return err
}

// checksum checks that the store refuses a wrong checksum and shows the right one. On a store
// that does not, archiverd works too: it reads back everything that it writes.
func (v *visit) checksum(ctx context.Context, free storage.Object) {
	const name = "store.checksum"
	const remedy = "nothing is at risk: archiverd reads everything back after it has written it; a store that compares and shows SHA-256 checksums would save these requests"
	sum := sha256.Sum256([]byte(canaryText))
	right := storage.Checksum{Algorithm: "SHA256", Value: base64.StdEncoding.EncodeToString(sum[:])}
	switch err := v.Bucket.PutCorrupt(ctx, v.dir+"-corrupt"); {
	case err == nil:
		v.warn(name, remedy, "the store accepted bytes with a wrong checksum")
	case !errors.Is(err, storage.ErrChecksum):
		v.fail(name, failKind(err), storeRemedy(err, "s3:PutObject"), "the store refused bytes with a wrong checksum, but not because of the checksum: %v", err)
	case free.Checksum != right:
		v.warn(name, remedy, "the store refused a wrong checksum, but HEAD does not show the right one")
	default:
		v.pass(name, "the store refused a wrong checksum, and HEAD shows the right one")
	}
}

// encryption checks that HEAD shows the configured encryption.
func (v *visit) encryption(free storage.Object) {
	const name = "store.encryption"
	shown := free.Encryption
	if shown == "" {
		shown = "none"
	}
	if v.Encryption == "none" {
		v.pass(name, "none is configured, the store shows %s", shown)
	} else if free.Encryption != v.Encryption {
		v.fail(name, failure.KindConfiguration, "set up the store's encryption as configured, or set storage.encryption to what the store does", "%s is configured, the store shows %s", v.Encryption, shown)
	} else {
		v.pass(name, "%s, as configured", shown)
	}
}

// deleteRight checks that the credentials may not delete objects, which archiverd never does.
func (v *visit) deleteRight(ctx context.Context, free storage.Object) {
	const name = "store.delete_right"
	const remedy = "take s3:DeleteObject and s3:DeleteObjectVersion from archiverd's credentials: a thief of the credentials could not delete anything then"
	if free.Retention.Mode != "" {
		v.unchecked(name, "the bucket locks every new object by default, so whether these credentials may delete an unlocked one could not be determined")
		return
	}
	one := v.Probe.Delete(ctx, free.Key, free.VersionID, false)
	hide := one
	if one != nil && free.VersionID != "" {
		hide = v.Probe.Delete(ctx, free.Key, "", false)
	}
	switch {
	case one == nil || hide == nil:
		v.warn(name, remedy, "these credentials may delete objects")
	case errors.Is(one, storage.ErrAccess) && errors.Is(hide, storage.ErrAccess):
		v.pass(name, "these credentials may not delete objects; archiverd erase and dispose bring others: docs/records.md")
	default:
		v.warn(name, "run archiverd doctor again; if this stays, ask the store's maker what its answer means",
			"whether these credentials may delete objects could not be determined: %v", errors.Join(one, hide))
	}
}

// versioning checks that the bucket keeps versions, because a lock protects a version.
func (v *visit) versioning(ctx context.Context) {
	const name = "store.versioning"
	status, err := v.Probe.Versioning(ctx)
	switch {
	case err != nil:
		v.unseen(name, "s3:GetBucketVersioning", err)
	case status == "Enabled":
		v.pass(name, "enabled")
	case v.Doctor.Retention.Mode != "":
		v.fail(name, failure.KindConfiguration, "create the bucket with Object Lock, which turns versions on, or set storage.object_lock.mode to none", "the bucket keeps no versions, and locks protect versions")
	default:
		v.warn(name, "turn the bucket's versioning on: then what someone overwrites or deletes can be brought back", "the bucket keeps no versions")
	}
}

// unseen reports a setting that could not be read.
func (v *visit) unseen(name, action string, err error) {
	v.warn(name, storeRemedy(err, action), "could not be read: %v", err)
}

// clock checks that a service's clock is near this machine's: the dates of retentions and in
// manifests come from this machine.
func (f *findings) clock(name, whose string, skew func() (time.Duration, bool)) {
	d, known := skew()
	switch {
	case !known:
		f.warn(name, "make sure that nothing between this machine and "+whose+" removes the Date header from replies: without it no original is deleted", "the replies of %s had no date to compare with", whose)
	case d.Abs() > proof.MaxSkew:
		f.fail(name, failure.KindConfiguration, "set this machine's clock, as by NTP: retention is reckoned by it, and no original is deleted until the clocks agree",
			"this machine's clock and that of %s differ by %s", whose, d.Abs().Round(time.Second))
	default:
		f.pass(name, "within %s of this machine's", max(d.Abs().Round(time.Second), time.Second))
	}
}

// failKind is failure.KindOf for the doctor. A reply that has no other kind counts as a fault
// of the configuration.
func failKind(err error) failure.Kind {
	if k := failure.KindOf(err); k != failure.KindFailed {
		return k
	}
	return failure.KindConfiguration
}

// storeRemedy says what to do about an error of the store. action is the right that the request
// takes.
func storeRemedy(err error, action string) string {
	e, ok := errors.AsType[*storage.Error](err)
	switch {
	case errors.Is(err, storage.ErrNoBucket):
		return "create the bucket, or correct storage.bucket and storage.endpoint"
	case errors.Is(err, storage.ErrRegion):
		return "set storage.region to the one named, or storage.endpoint to where the bucket is"
	case ok && e.Code == "RequestTimeTooSkewed":
		return "set this machine's clock, as by NTP"
	case errors.Is(err, storage.ErrHeader):
		return "have the store, or the proxy before it, write this header as S3 does, or use another store: archiverd can't prove what this one holds"
	case errors.Is(err, storage.ErrChecksumHeader):
		return "set storage.checksum to md5: then archiverd sends Content-MD5, and reads back what it wrote"
	case errors.Is(err, storage.ErrAccess):
		return "check storage.access_key_id and its secret, and allow their owner " + action
	case ok && e.Code == "CredentialsPending":
		return "repair the source of the credentials (a missing token or file, a metadata service that does not answer), or set storage.access_key_id and its secret"
	case ok && e.Temporary():
		return "see that storage.endpoint can be reached from here and is up, then run archiverd doctor again"
	case ok && strings.Contains(e.Code, "NotImplemented"):
		return "the store does not know this operation: check the setting with the store's own tools, or use another store"
	}
	return "compare storage.* with how the store is set up; its reply is above"
}
