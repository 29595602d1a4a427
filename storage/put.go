package storage

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// New describes an object to create.
type New struct {
	Key         string // 1,024 bytes at most
	ContentType string
	// Metadata names consist of a-z, 0-9 and '-'. Values may hold any bytes:
	// bytes that are not safe in a header, and '%', are percent-escaped when sent,
	// and [Bucket.Head] and [Bucket.Get] unescape them. An empty value is left
	// out. S3 allows 2 KB for names and escaped values together.
	Metadata  map[string]string
	Retention Retention
}

// Put creates an object in one request, which S3 accepts up to 5 GiB. body is
// not read after Put returns. sha256 is the body's hash: if the bytes differ, the
// store refuses them with [ErrChecksum]. A key that holds an object gives
// [ErrExists], also if an earlier attempt of this Put created it and the reply was
// lost. The returned Object repeats the reply, which proves nothing.
func (b *Bucket) Put(ctx context.Context, n New, body []byte, sha256 [32]byte) (Object, error) {
	in, err := b.putInput(n)
	if err != nil {
		return Object{}, err
	}
	if b.md5() {
		in.ContentMD5 = contentMD5(body)
	} else {
		in.ChecksumSHA256 = base64of(sha256[:])
	}
	return b.put(ctx, in, body, sha256)
}

// PutCorrupt sends a put whose declared checksum is wrong. [ErrChecksum] means
// that the store compares checksums. Nil means that it does not, and that key now
// holds a small object. Any other error, [ErrExists] included, shows nothing: use
// a key that is new.
func (b *Bucket) PutCorrupt(ctx context.Context, key string) error {
	in, err := b.putInput(New{Key: key})
	if err != nil {
		return err
	}
	// The signature must be right, or the store would refuse the put for that.
	body, other := []byte("archiverd: a store must refuse this"), []byte("for its checksum is of this")
	if b.md5() {
		in.ContentMD5 = contentMD5(other)
	} else {
		sum := sha256.Sum256(other)
		in.ChecksumSHA256 = base64of(sum[:])
	}
	_, err = b.put(ctx, in, body, sha256.Sum256(body))
	return err
}

func (b *Bucket) put(ctx context.Context, in *s3.PutObjectInput, body []byte, sum [32]byte) (Object, error) {
	in.Body = bytes.NewReader(body) // the SDK stops the transport's reads before an attempt ends: TestPutBodyIsFree
	out, err := b.client.PutObject(ctx, in, signed(sum))
	if err != nil {
		return Object{}, b.fail(opPut, *in.Key, err)
	}
	if aws.ToString(out.ETag) == "" {
		return Object{}, unreadable(opPut, *in.Key, "ETag")
	}
	return Object{
		Key:       *in.Key,
		VersionID: aws.ToString(out.VersionId),
		Size:      int64(len(body)),
		Expires:   expiry(aws.ToString(out.Expiration)),
		ETag:      *out.ETag,
	}, nil
}

func (b *Bucket) putInput(n New) (*s3.PutObjectInput, error) {
	metadata, err := n.check(opPut)
	if err != nil {
		return nil, err
	}
	in := &s3.PutObjectInput{
		Bucket:       &b.opts.Bucket,
		Key:          &n.Key,
		ContentType:  optional(n.ContentType),
		Metadata:     metadata,
		IfNoneMatch:  aws.String("*"),
		StorageClass: types.StorageClass(b.opts.StorageClass),
	}
	in.ServerSideEncryption, in.SSEKMSKeyId = b.encryption()
	in.ObjectLockMode, in.ObjectLockRetainUntilDate = n.Retention.put()
	return in, nil
}

// check refuses values that a store would reject or change, and returns the
// escaped metadata.
func (n *New) check(op string) (map[string]string, error) {
	if n.Key == "" || len(n.Key) > 1024 {
		return nil, refuse(op, n.Key, "InvalidKey", "a key has 1 to 1,024 bytes, not %d", len(n.Key))
	}
	switch r := n.Retention; {
	case r == Retention{}:
	case r.Mode != "GOVERNANCE" && r.Mode != "COMPLIANCE", r.Until.IsZero():
		return nil, refuse(op, n.Key, "InvalidRetention", "retention %q until %v", r.Mode, r.Until)
	}
	metadata, err := encodeMetadata(n.Metadata)
	if err != nil {
		return nil, refuse(op, n.Key, "InvalidMetadata", "%w", err)
	}
	return metadata, nil
}

func (b *Bucket) encryption() (types.ServerSideEncryption, *string) {
	switch b.opts.Encryption {
	case "", "none":
		return "", nil
	}
	return types.ServerSideEncryption(b.opts.Encryption), optional(b.opts.KMSKeyID)
}

func (r Retention) put() (types.ObjectLockMode, *time.Time) {
	if r.Mode == "" {
		return "", nil
	}
	until := r.Until.Add(time.Second - time.Nanosecond).Truncate(time.Second).UTC()
	return types.ObjectLockMode(r.Mode), &until
}

func base64of(sum []byte) *string {
	return aws.String(base64.StdEncoding.EncodeToString(sum))
}

func contentMD5(body []byte) *string {
	sum := md5.Sum(body)
	return base64of(sum[:])
}
