package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Retention is an object lock. The zero value means no lock.
type Retention struct {
	Mode  string    // "", "GOVERNANCE", "COMPLIANCE"
	Until time.Time // sent in whole seconds, rounded up
}

// Checksum is a hash of a whole object. The zero value means no checksum.
type Checksum struct {
	Algorithm string // "SHA256", "CRC32", "CRC64NVME", …
	Value     string // base64, as S3 gives it
}

// Object is one version of an object, as the store describes it. A field that the
// store leaves out is zero.
type Object struct {
	Key         string
	VersionID   string // "" if the bucket is not versioned
	ContentType string
	Size        int64 // -1 if the reply does not say
	Modified    time.Time
	Metadata    map[string]string // names in lower case, values unescaped: see New
	Checksum    Checksum          // of all bytes; never a COMPOSITE one (a hash of the parts' hashes)
	Retention   Retention         // AWS shows it only with the right s3:GetObjectRetention
	Held        bool              // a legal hold is shown; only Head sets it. False proves nothing: see Bucket.Hold
	Encryption  string            // by the server: "AES256", "aws:kms", …; only Head sets it
	// Expires is when a lifecycle rule will remove the object, by the
	// x-amz-expiration header; zero: the reply has no such header. A header that
	// cannot be read gives the Unix epoch, so that the object counts as expired.
	Expires time.Time
	ETag    string // with its quotes, as S3 gives it
}

// Head returns the object that the store holds under a key. An empty versionID
// means the newest version; if that is a delete marker, Head returns [ErrNotFound].
func (b *Bucket) Head(ctx context.Context, key, versionID string) (Object, error) {
	out, err := b.client.HeadObject(ctx, &s3.HeadObjectInput{
		Bucket: &b.opts.Bucket, Key: &key, VersionId: optional(versionID), ChecksumMode: types.ChecksumModeEnabled,
	})
	if err != nil {
		return Object{}, b.orMissing(ctx, key, versionID, b.fail(opHead, key, err))
	}
	etag := aws.ToString(out.ETag)
	return Object{
		Key:         key,
		VersionID:   aws.ToString(out.VersionId),
		ContentType: aws.ToString(out.ContentType),
		Size:        size(out.ContentLength),
		Modified:    aws.ToTime(out.LastModified),
		Metadata:    decodeMetadata(out.Metadata),
		Checksum:    wholeChecksum(out, etag),
		Retention:   Retention{string(out.ObjectLockMode), aws.ToTime(out.ObjectLockRetainUntilDate)},
		Held:        out.ObjectLockLegalHoldStatus == types.ObjectLockLegalHoldStatusOn,
		Encryption:  string(out.ServerSideEncryption),
		Expires:     expiry(aws.ToString(out.Expiration)),
		ETag:        etag,
	}, nil
}

// Get opens an object's bytes. The caller closes the reader, which returns
// io.EOF only after all bytes, and an [*Error] when the connection fails.
// Object.Checksum is empty and Get compares no checksum; Head returns one.
func (b *Bucket) Get(ctx context.Context, key, versionID string) (io.ReadCloser, Object, error) {
	out, err := b.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.opts.Bucket, Key: &key, VersionId: optional(versionID)})
	if err != nil {
		return nil, Object{}, b.orMissing(ctx, key, versionID, b.fail(opGet, key, err))
	}
	return &body{out.Body, key}, Object{
		Key:         key,
		VersionID:   aws.ToString(out.VersionId),
		ContentType: aws.ToString(out.ContentType),
		Size:        size(out.ContentLength),
		Modified:    aws.ToTime(out.LastModified),
		Metadata:    decodeMetadata(out.Metadata),
		Retention:   Retention{string(out.ObjectLockMode), aws.ToTime(out.ObjectLockRetainUntilDate)},
		Expires:     expiry(aws.ToString(out.Expiration)),
		ETag:        aws.ToString(out.ETag),
	}, nil
}

// orMissing turns a refusal into ErrNotFound if a listing shows no object under the key.
// S3 says that an object is missing only to callers that may list the bucket. To a caller
// that may list only a part of it, S3 may answer 403.
func (b *Bucket) orMissing(ctx context.Context, key, versionID string, err error) error {
	e, ok := errors.AsType[*Error](err)
	if versionID != "" || !ok || e.Status != http.StatusForbidden || e.Code != "AccessDenied" && e.Code != "Forbidden" {
		return err
	}
	for o, failed := range b.List(ctx, key) {
		if failed != nil || o.Key == key {
			return err
		}
	}
	return &Error{Op: e.Op, Key: key, Status: e.Status, RequestID: e.RequestID, Err: fmt.Errorf("%w: the store refused the request, and does not list the key", ErrNotFound)}
}

type body struct {
	io.ReadCloser
	key string
}

func (r *body) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = &Error{Op: opRead, Key: r.key, Err: err}
	}
	return n, err
}

// List yields the newest versions whose key begins with prefix, in the store's
// order (S3 sorts by bytes), 1,000 a request. Only Key, Size, Modified and ETag
// are set. An error is yielded once, as the last element.
func (b *Bucket) List(ctx context.Context, prefix string) iter.Seq2[Object, error] {
	return b.ListAfter(ctx, prefix, "")
}

// ListAfter is List, beginning with the first key after the given one.
func (b *Bucket) ListAfter(ctx context.Context, prefix, after string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		var next *string
		for {
			out, err := b.listPage(ctx, prefix, after, next)
			if err != nil {
				yield(Object{}, err)
				return
			}
			for _, c := range out.Contents {
				o := Object{Key: aws.ToString(c.Key), Size: size(c.Size), Modified: aws.ToTime(c.LastModified), ETag: aws.ToString(c.ETag)}
				if !yield(o, nil) {
					return
				}
			}
			if !*out.IsTruncated {
				return
			}
			next = out.NextContinuationToken
		}
	}
}

// listPage returns one page. It asks for URL-encoded keys, because XML cannot hold
// every byte. A truncated page without a new continuation token is an error, not
// the end of the listing.
func (b *Bucket) listPage(ctx context.Context, prefix, after string, token *string) (*s3.ListObjectsV2Output, error) {
	out, err := b.client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{
		Bucket: &b.opts.Bucket, Prefix: optional(prefix), StartAfter: optional(after), ContinuationToken: token, EncodingType: types.EncodingTypeUrl,
	})
	if err != nil {
		return nil, b.fail(opList, prefix, err)
	}
	if out.IsTruncated == nil {
		return nil, unreadable(opList, prefix, "IsTruncated")
	}
	if next := aws.ToString(out.NextContinuationToken); *out.IsTruncated && (next == "" || next == aws.ToString(token)) {
		return nil, unreadable(opList, prefix, "new continuation token")
	}
	if out.EncodingType != types.EncodingTypeUrl {
		return out, nil
	}
	for i := range out.Contents {
		key, err := url.QueryUnescape(aws.ToString(out.Contents[i].Key))
		if err != nil {
			return nil, unreadable(opList, prefix, "readable key")
		}
		out.Contents[i].Key = &key
	}
	return out, nil
}

// wholeChecksum returns the checksum of all bytes. If the store gives no type and
// the object has parts, the value may be a checksum of the parts' checksums: then
// it, or the object's ETag, ends in "-N".
func wholeChecksum(out *s3.HeadObjectOutput, etag string) Checksum {
	parts := strings.Contains(etag, "-")
	if out.ChecksumType != types.ChecksumTypeFullObject && (out.ChecksumType != "" || parts) {
		return Checksum{}
	}
	for _, c := range []struct {
		algorithm types.ChecksumAlgorithm
		value     *string
	}{ // the ones that this package sends come first
		{types.ChecksumAlgorithmSha256, out.ChecksumSHA256},
		{types.ChecksumAlgorithmCrc32, out.ChecksumCRC32},
		{types.ChecksumAlgorithmCrc64nvme, out.ChecksumCRC64NVME},
		{types.ChecksumAlgorithmCrc32c, out.ChecksumCRC32C},
		{types.ChecksumAlgorithmSha1, out.ChecksumSHA1},
	} {
		if v := aws.ToString(c.value); v != "" && !strings.Contains(v, "-") {
			return Checksum{string(c.algorithm), v}
		}
	}
	return Checksum{}
}

// expiry reads x-amz-expiration: expiry-date="Fri, 21 Dec 2012 00:00:00 GMT", rule-id="…"
func expiry(header string) time.Time {
	if header == "" {
		return time.Time{}
	}
	_, rest, _ := strings.Cut(header, `expiry-date="`)
	date, _, _ := strings.Cut(rest, `"`)
	t, err := http.ParseTime(date)
	if err != nil {
		return time.Unix(0, 0).UTC()
	}
	return t
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func size(n *int64) int64 {
	if n == nil {
		return -1
	}
	return *n
}
