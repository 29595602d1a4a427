// Package storage is one S3 bucket as an archive needs it: objects are
// created, never overwritten and never deleted, and what the store holds can
// be read back and compared.
//
// Callers may rely on this:
//
//   - Every write carries If-None-Match: *, so that a key which holds an
//     object keeps it: the second create fails with [ErrExists]. The store
//     must know conditional writes (S3 since 2024; [Bucket.PutCorrupt] and a
//     second Put show whether it does).
//   - Every write carries a checksum that the store compares with the bytes:
//     SHA-256 for a put, CRC-32 for each part and the whole of an upload, or
//     Content-MD5 where Options.Checksum is "md5". Disagreement is
//     [ErrChecksum] and leaves nothing behind.
//   - A write's own reply proves nothing about what is stored. [Bucket.Head]
//     and [Bucket.Get] do.
//   - A failed request is repeated by the SDK's standard retryer, three
//     attempts in all, and nowhere else in this package, but for one more with
//     other credentials, read again, where the store refuses those it was sent.
//     A conflict with another write is repeated too. A create whose first
//     reply was lost therefore fails with [ErrExists] (a completed upload
//     perhaps with [ErrNoUpload]) although the object is ours: the caller
//     compares what is there.
//   - A temporary redirect (307) to the store's own domain is followed, by the same
//     scheme and with a new signature; one to another region is [ErrRegion].
//   - Nothing here has a timeout of its own: the context bounds every call,
//     and Options.Transport is expected to cut connections that stall.
//   - Every failure of an operation is an [*Error]; no error holds credentials.
//     Nothing is logged.
//
// Facts about S3 come from the Amazon S3 API Reference and from the contract
// suite in storage/storagetest, which runs against several servers.
package storage

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"
)

// attempts is how often a request is sent at most.
const attempts = 3

// Options says which bucket, and how to reach it.
type Options struct {
	Endpoint  string // scheme://host[:port]; empty: AWS
	Region    string // empty: that of the AWS default chain, or us-east-1 where Endpoint is set
	Bucket    string
	Prefix    string // of the archive's keys, without a slash at its end: Check lists below it alone
	PathStyle bool   // the bucket is in the path, not in the host name

	// AccessKeyID and SecretAccessKey are given together. Where both are empty
	// the AWS default chain is asked: environment, shared files, web identity,
	// container and instance roles. Nothing but credentials and the region is
	// taken from it.
	AccessKeyID     string
	SecretAccessKey string `json:"-"`

	// Again reads these two again when the store refuses them; nil: they are not read again.
	Again func() (accessKeyID, secretAccessKey string, err error) `json:"-"`

	Encryption   string // "none" or "", "AES256", "aws:kms"
	KMSKeyID     string // with aws:kms; empty: the account's key for S3
	StorageClass string // empty: the bucket's default

	// Checksum is "auto" or "", or "md5" for stores that know nothing else:
	// then Content-MD5 is sent, and no x-amz-checksum header at all.
	Checksum string

	Transport http.RoundTripper // nil: http.DefaultTransport
	UserAgent string            // put before the SDK's own

	// Observe is told of every HTTP exchange with the store, repeated ones too: S3's
	// name of the operation, and the status (0: no reply). It is called concurrently;
	// nil: nobody.
	Observe func(op string, status int) `json:"-"`
}

// Format keeps the secret out of whatever prints Options.
func (o Options) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "{bucket %q at %q, region %q}", o.Bucket, o.Endpoint, o.Region)
}

// Bucket is one bucket. It is safe for concurrent use.
type Bucket struct {
	client *s3.Client
	opts   Options // without the credentials
	skew   *atomic.Pointer[time.Duration]
}

// Open checks the options and builds the client. It sends no request to the
// store; the AWS default chain may read files and the environment.
func Open(ctx context.Context, o Options) (*Bucket, error) {
	return open(ctx, o, retry.NewStandard(repeat))
}

// repeat adds to what the SDK repeats the conflicts that S3 asks to try again.
func repeat(o *retry.StandardOptions) {
	o.MaxAttempts = attempts
	o.Retryables = append(o.Retryables, retry.RetryableErrorCode{Codes: map[string]struct{}{codeConflict: {}, codeAborted: {}}})
}

func open(ctx context.Context, o Options, retryer aws.Retryer) (*Bucket, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("open bucket %q: %w", o.Bucket, err)
	}
	if o.Transport == nil {
		o.Transport = http.DefaultTransport
	}
	creds, region, err := o.credentials(ctx)
	if err != nil {
		return nil, fmt.Errorf("open bucket %q: %w", o.Bucket, err)
	}
	b := &Bucket{opts: o, skew: new(atomic.Pointer[time.Duration])}
	b.opts.AccessKeyID, b.opts.SecretAccessKey, b.opts.Again = "", "", nil
	renew := &renewal{source: creds}
	so := s3.Options{
		Region:       region,
		Credentials:  renew,
		HTTPSignerV4: new(signer),
		APIOptions:   []func(*middleware.Stack) error{func(s *middleware.Stack) error { return s.Finalize.Add(renew, middleware.Before) }},
		UsePathStyle: o.PathStyle,
		Retryer:      retryer,
		Logger:       logging.Nop{},
		HTTPClient:   httpClient(&transport{base: o.Transport, userAgent: o.UserAgent, skew: b.skew, observe: o.Observe}),
		// The checksums are sent explicitly: the SDK's own trailers are refused
		// by several stores (aws-sdk-go-v2 issues 3007, 3151, 3469).
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
	}
	if o.Endpoint != "" {
		so.BaseEndpoint = &o.Endpoint
	}
	b.client = s3.New(so, follow(region))
	return b, nil
}

// Check asks whether the bucket is there and may be listed below Options.Prefix: nil,
// [ErrNoBucket], [ErrAccess], or a temporary [*Error]. It is a listing and no HEAD of
// the bucket: that takes the right to list all of it, and its reply does not say why it
// fails; versitygw even answers an unknown access key with 404.
func (b *Bucket) Check(ctx context.Context) error {
	in := &s3.ListObjectsV2Input{Bucket: &b.opts.Bucket, MaxKeys: aws.Int32(1)}
	if b.opts.Prefix != "" {
		in.Prefix = aws.String(b.opts.Prefix + "/")
	}
	out, err := b.client.ListObjectsV2(ctx, in)
	if err == nil && out.IsTruncated == nil {
		return unreadable(opCheck, "", "IsTruncated")
	}
	return b.fail(opCheck, "", err)
}

// Skew is the store's clock minus the local one, as of the last reply with a
// Date header; that header counts whole seconds. False before there was one.
func (b *Bucket) Skew() (time.Duration, bool) {
	if d := b.skew.Load(); d != nil {
		return *d, true
	}
	return 0, false
}

func (b *Bucket) md5() bool { return b.opts.Checksum == "md5" }
