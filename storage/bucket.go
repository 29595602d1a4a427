// Package storage is one S3 bucket as an archive needs it: objects are
// created, never overwritten and never deleted, and what the store holds can
// be read back and compared.
//
// Callers may rely on this:
//
//   - Every write carries If-None-Match: *, so that no object is replaced: a
//     second create of a key fails with [ErrExists]. The store must support
//     conditional writes (S3 does since 2024; a second Put shows whether the
//     store does, as [Bucket.PutCorrupt] shows it for checksums).
//   - Every write carries a checksum that the store compares with the bytes:
//     SHA-256 for a put, CRC-32 for each part and the whole of an upload, or
//     Content-MD5 if Options.Checksum is "md5". If they disagree, the write
//     fails with [ErrChecksum] and stores nothing.
//   - A write's own reply proves nothing about what is stored. [Bucket.Head]
//     and [Bucket.Get] do.
//   - The SDK's standard retryer repeats a failed request, and one that
//     conflicts with another write: three attempts in all. This package adds
//     one more if the store refuses the credentials and reading them again
//     gives others. A create whose first reply was lost therefore fails with
//     [ErrExists] (a completed upload perhaps with [ErrNoUpload]) although the
//     object is ours: the caller has to compare the stored object.
//   - A temporary redirect (307) to the store's own domain is followed, with the same
//     scheme and a new signature; a redirect to another region is [ErrRegion].
//   - No call has a timeout of its own: the context bounds it, and
//     Options.Transport has to cut connections that stall.
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

// attempts is the largest number of times that a request is sent.
const attempts = 3

// Options names a bucket and says how to reach it.
type Options struct {
	Endpoint  string // scheme://host[:port]; empty: AWS
	Region    string // empty: that of the AWS default chain, or us-east-1 if Endpoint is set
	Bucket    string
	Prefix    string // of the archive's keys, without a slash at its end: Check lists only below it
	PathStyle bool   // the bucket is in the path, not in the host name

	// AccessKeyID and SecretAccessKey are given together. If both are empty,
	// credentials come from the AWS default chain: environment, shared files,
	// web identity, container and instance roles. Only credentials and the
	// region are taken from it.
	AccessKeyID     string
	SecretAccessKey string `json:"-"`
	SessionToken    string `json:"-"` // of temporary keys; "": none

	// Again reads the two keys again when the store refuses them; nil: they are not read again.
	Again func() (accessKeyID, secretAccessKey string, err error) `json:"-"`

	Encryption   string // "none" or "", "AES256", "aws:kms"
	KMSKeyID     string // with aws:kms; empty: the account's key for S3
	StorageClass string // empty: the bucket's default

	// Checksum is "auto" or "", or "md5" for stores without other checksums:
	// then Content-MD5 is sent instead of the x-amz-checksum headers.
	Checksum string

	Transport http.RoundTripper // nil: http.DefaultTransport
	UserAgent string            // put before the SDK's own

	// Observe is called for every HTTP exchange with the store, repeated ones too, with
	// S3's name of the operation and the status (0: no reply). It is called concurrently,
	// and may be nil.
	Observe func(op string, status int) `json:"-"`
}

// Format prints o without the secret, whatever the verb.
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

// repeat makes the SDK also repeat requests that failed with a passing conflict, as S3 asks.
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
	b.opts.AccessKeyID, b.opts.SecretAccessKey, b.opts.SessionToken, b.opts.Again = "", "", "", nil
	renew := &renewal{source: creds}
	so := s3.Options{
		Region:       region,
		Credentials:  renew,
		HTTPSignerV4: new(signer),
		APIOptions:   []func(*middleware.Stack) error{renew.add, named(o.UserAgent)},
		UsePathStyle: o.PathStyle,
		Retryer:      retryer,
		Logger:       logging.Nop{},
		HTTPClient:   httpClient(&transport{base: o.Transport, skew: b.skew, observe: o.Observe}),
		// This package sends the checksums: several stores refuse the trailers
		// that the SDK would send (aws-sdk-go-v2 issues 3007, 3151, 3469).
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
	}
	if o.Endpoint != "" {
		so.BaseEndpoint = &o.Endpoint
	}
	b.client = s3.New(so, follow(region))
	return b, nil
}

// Check returns nil if the bucket exists and may be listed below Options.Prefix, else
// [ErrNoBucket], [ErrAccess], or a temporary [*Error]. It lists instead of sending a HEAD
// for the bucket: HEAD needs the right to list the whole bucket, and its reply does not
// say why it failed; versitygw even answers an unknown access key with 404.
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

// Skew returns the store's clock minus the local clock, from the last reply with a
// Date header, exact to a second. It returns false if no reply had one yet.
func (b *Bucket) Skew() (time.Duration, bool) {
	if d := b.skew.Load(); d != nil {
		return *d, true
	}
	return 0, false
}

func (b *Bucket) md5() bool { return b.opts.Checksum == "md5" }
