package storage

import (
	"context"
	"iter"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Begun is a multipart upload under way, begun by any process.
type Begun struct {
	Key string
	ID  string
	At  time.Time // by the store's clock
}

// Uploads yields the uploads under way whose key begins with prefix, 1,000 a request
// (s3:ListBucketMultipartUploads). Not all stores list them: MinIO does only if prefix
// is a whole key. An error is yielded once, as the last element.
func (b *Bucket) Uploads(ctx context.Context, prefix string) iter.Seq2[Begun, error] {
	return func(yield func(Begun, error) bool) {
		// Keys are not requested URL-encoded: Ceph RGW 16 does not say whether it encoded them.
		in := &s3.ListMultipartUploadsInput{Bucket: &b.opts.Bucket, Prefix: optional(prefix)}
		for {
			out, err := b.client.ListMultipartUploads(ctx, in)
			if err == nil && out.IsTruncated == nil {
				err = unreadable(opUploads, prefix, "IsTruncated")
			} else {
				err = b.fail(opUploads, prefix, err)
			}
			if err != nil {
				yield(Begun{}, err)
				return
			}
			for _, u := range out.Uploads {
				if !yield(begun(u)) {
					return
				}
			}
			if !*out.IsTruncated {
				return
			}
			if aws.ToString(out.NextKeyMarker) == aws.ToString(in.KeyMarker) && aws.ToString(out.NextUploadIdMarker) == aws.ToString(in.UploadIdMarker) {
				yield(Begun{}, unreadable(opUploads, prefix, "new markers"))
				return
			}
			in.KeyMarker, in.UploadIdMarker = out.NextKeyMarker, out.NextUploadIdMarker
		}
	}
}

func begun(u types.MultipartUpload) (Begun, error) {
	if u.Key == nil || u.UploadId == nil || u.Initiated == nil {
		return Begun{}, unreadable(opUploads, aws.ToString(u.Key), "readable upload")
	}
	return Begun{*u.Key, *u.UploadId, *u.Initiated}, nil
}
