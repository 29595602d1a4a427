package storage

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Quotas of a multipart upload (Amazon S3 User Guide, "multipart upload limits").
const (
	MaxParts    = 10_000
	MinPartSize = 5 << 20 // bytes, of all parts but the last
)

// Upload is a multipart upload under way: nothing is visible under Key before
// [Upload.Complete], and the store keeps (and charges for) the parts until
// Complete or [Upload.Abort]. It is for one goroutine at a time.
type Upload struct {
	Key string
	ID  string // Key and ID are all that AbortUpload needs, also in a later process

	b     *Bucket
	parts []types.CompletedPart
	size  int64
	short bool // the newest part is shorter than MinPartSize, so it must be the last
}

// Create begins a multipart upload. Only Complete shows whether the key already
// holds an object.
func (b *Bucket) Create(ctx context.Context, n New) (*Upload, error) {
	metadata, err := n.check(opCreate)
	if err != nil {
		return nil, err
	}
	in := &s3.CreateMultipartUploadInput{
		Bucket:       &b.opts.Bucket,
		Key:          &n.Key,
		ContentType:  optional(n.ContentType),
		Metadata:     metadata,
		StorageClass: types.StorageClass(b.opts.StorageClass),
	}
	in.ServerSideEncryption, in.SSEKMSKeyId = b.encryption()
	in.ObjectLockMode, in.ObjectLockRetainUntilDate = n.Retention.put()
	if !b.md5() {
		in.ChecksumAlgorithm, in.ChecksumType = types.ChecksumAlgorithmCrc32, types.ChecksumTypeFullObject
	}
	out, err := b.client.CreateMultipartUpload(ctx, in)
	if err != nil {
		return nil, b.fail(opCreate, n.Key, err)
	}
	if aws.ToString(out.UploadId) == "" {
		return nil, unreadable(opCreate, n.Key, "UploadId")
	}
	return &Upload{Key: n.Key, ID: *out.UploadId, b: b}, nil
}

// Part uploads the next part. Every part but the last has at least [MinPartSize]
// bytes; an upload has at most [MaxParts] parts. body is not read after Part
// returns. A part that failed does not count: call Part again with the same bytes.
func (u *Upload) Part(ctx context.Context, body []byte) error {
	number := int32(len(u.parts) + 1)
	switch {
	case number > MaxParts:
		return refuse(opPart, u.Key, "TooManyParts", "an upload has %d parts at most: the object is too large for parts of this size", MaxParts)
	case u.short:
		return refuse(opPart, u.Key, "EntityTooSmall", "only the last part may have less than %d bytes", MinPartSize)
	}
	in := &s3.UploadPartInput{
		Bucket: &u.b.opts.Bucket, Key: &u.Key, UploadId: &u.ID, PartNumber: &number, Body: bytes.NewReader(body),
	}
	if u.b.md5() {
		in.ContentMD5 = contentMD5(body)
	} else {
		in.ChecksumCRC32 = base64CRC(crc32.ChecksumIEEE(body))
	}
	out, err := u.b.client.UploadPart(ctx, in, unsigned())
	if err != nil {
		return u.b.fail(opPart, u.Key, err)
	}
	if aws.ToString(out.ETag) == "" {
		return unreadable(opPart, u.Key, "ETag")
	}
	u.parts = append(u.parts, types.CompletedPart{ETag: out.ETag, PartNumber: &number, ChecksumCRC32: in.ChecksumCRC32})
	u.size += int64(len(body))
	u.short = len(body) < MinPartSize
	return nil
}

// Complete joins the parts, at least one, to the object. crc is the CRC-32 (IEEE) of
// the whole: if the bytes differ, the store refuses them with [ErrChecksum]. crc is
// also the returned Object's Checksum, which like the rest proves nothing. In md5
// mode crc is not sent. A key that holds an object gives [ErrExists]; then the upload
// still has to be aborted. [ErrExists] and [ErrNoUpload] may also mean that an
// earlier attempt succeeded and its reply was lost: call [Bucket.Head].
func (u *Upload) Complete(ctx context.Context, crc uint32) (Object, error) {
	if len(u.parts) == 0 {
		return Object{}, refuse(opComplete, u.Key, "NoParts", "an upload needs at least one part: use Put for an empty object")
	}
	in := &s3.CompleteMultipartUploadInput{
		Bucket: &u.b.opts.Bucket, Key: &u.Key, UploadId: &u.ID, IfNoneMatch: aws.String("*"),
		MultipartUpload: &types.CompletedMultipartUpload{Parts: u.parts},
	}
	var whole Checksum
	if !u.b.md5() {
		in.ChecksumType, in.ChecksumCRC32 = types.ChecksumTypeFullObject, base64CRC(crc)
		whole = Checksum{string(types.ChecksumAlgorithmCrc32), *in.ChecksumCRC32}
	}
	out, err := u.b.client.CompleteMultipartUpload(ctx, in)
	if err != nil {
		return Object{}, u.b.fail(opComplete, u.Key, err)
	}
	// Ceph RGW 16 names the object but not its ETag. A page of HTML has none of these.
	if cmp.Or(aws.ToString(out.ETag), aws.ToString(out.Key), aws.ToString(out.Bucket), aws.ToString(out.Location)) == "" {
		return Object{}, unreadable(opComplete, u.Key, "ETag, Key, Bucket or Location")
	}
	return Object{
		Key:       u.Key,
		VersionID: aws.ToString(out.VersionId),
		Size:      u.size,
		Checksum:  whole,
		Expires:   expiry(aws.ToString(out.Expiration)),
		ETag:      aws.ToString(out.ETag),
	}, nil
}

// Abort ends the upload and frees its parts. After an Abort or a Complete it does
// nothing.
func (u *Upload) Abort(ctx context.Context) error { return u.b.AbortUpload(ctx, u.Key, u.ID) }

// AbortUpload is [Upload.Abort] for an upload that another process began. It
// returns nil if the store does not know the upload.
func (b *Bucket) AbortUpload(ctx context.Context, key, id string) error {
	_, err := b.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &b.opts.Bucket, Key: &key, UploadId: &id})
	if err = b.fail(opAbort, key, err); errors.Is(err, ErrNoUpload) {
		return nil
	}
	return err
}

func base64CRC(sum uint32) *string {
	return base64of(binary.BigEndian.AppendUint32(nil, sum))
}
