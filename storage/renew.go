package storage

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// source returns credentials. anew reads them again from where they come from.
type source interface {
	aws.CredentialsProvider
	anew(context.Context) error
}

// keys is the access key of the configuration.
type keys struct {
	again   func() (accessKeyID, secretAccessKey string, err error) // may be nil
	session string                                                  // the session token; "": none

	mu    sync.Mutex
	value aws.Credentials
}

// keysSource is the Source of credentials that come from the options.
const keysSource = "storage.access_key_id"

func (k *keys) set(id, secret string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.value = aws.Credentials{AccessKeyID: id, SecretAccessKey: secret, SessionToken: k.session, Source: keysSource}
}

// Retrieve implements aws.CredentialsProvider.
func (k *keys) Retrieve(context.Context) (aws.Credentials, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.value, nil
}

func (k *keys) anew(context.Context) error {
	if k.again == nil {
		return nil
	}
	id, secret, err := k.again()
	if err == nil {
		k.set(id, secret)
	}
	return err
}

// renewal repeats a request once with other credentials if the store refuses the first
// ones: they may have been replaced since they were read.
type renewal struct {
	source
	mu        sync.Mutex // held while credentials are read again
	fruitless time.Time  // when that gave no others last
}

// renewPause is how long after credentials were read again in vain they are not read
// again: a store answers 403 also to what other credentials would not change.
const renewPause = time.Minute

// usedKey is the context key of the credentials that a request was signed with.
type usedKey struct{}

// Retrieve implements aws.CredentialsProvider.
func (r *renewal) Retrieve(ctx context.Context) (aws.Credentials, error) {
	v, err := r.source.Retrieve(ctx)
	if used, ok := ctx.Value(usedKey{}).(*aws.Credentials); ok && err == nil {
		*used = v
	}
	return v, err
}

func (r *renewal) add(s *middleware.Stack) error { return s.Finalize.Add(r, middleware.Before) }

// ID names the middleware.
func (*renewal) ID() string { return "RenewCredentials" }

// HandleFinalize encloses the SDK's own retries.
func (r *renewal) HandleFinalize(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
	req, ok := in.Request.(*smithyhttp.Request)
	if !ok {
		return next.HandleFinalize(ctx, in)
	}
	var used aws.Credentials
	out, meta, err := next.HandleFinalize(context.WithValue(ctx, usedKey{}, &used), in)
	if !refused(err) || !r.differs(ctx, used, doubtful(err)) || req.RewindStream() != nil {
		return out, meta, err
	}
	return next.HandleFinalize(ctx, in) // still unsigned: the SDK signs a copy for each attempt
}

// doubtful reports whether a refusal is more likely to be of a right than of the credentials.
func doubtful(err error) bool {
	reply, ok := errors.AsType[*awshttp.ResponseError](err)
	if !ok || reply.HTTPStatusCode() != http.StatusForbidden {
		return false
	}
	api, ok := errors.AsType[smithy.APIError](err)
	return !ok || !slices.Contains(refusals, api.ErrorCode())
}

// differs reports whether there are now other credentials than those used. After a
// doubtful refusal they are not read again for a while once that was in vain.
func (r *renewal) differs(ctx context.Context, used aws.Credentials, doubtful bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	other := func() bool {
		now, err := r.source.Retrieve(ctx)
		return err == nil && (now.AccessKeyID != used.AccessKeyID || now.SecretAccessKey != used.SecretAccessKey || now.SessionToken != used.SessionToken)
	}
	if !used.HasKeys() || other() {
		return used.HasKeys()
	}
	if doubtful && time.Since(r.fruitless) < renewPause {
		return false
	}
	if r.anew(ctx) == nil && other() {
		return true
	}
	r.fruitless = time.Now()
	return false
}

// signer is the SDK's signer for S3. It is replaced when the secret changes, because the SDK
// caches keys derived from a secret by the access key's id alone.
type signer struct {
	mu     sync.Mutex
	secret string
	v4     *v4.Signer
}

// SignHTTP implements s3.HTTPSignerV4.
func (s *signer) SignHTTP(ctx context.Context, c aws.Credentials, r *http.Request, hash, service, region string, at time.Time, options ...func(*v4.SignerOptions)) error {
	s.mu.Lock()
	if s.v4 == nil || s.secret != c.SecretAccessKey {
		s.secret, s.v4 = c.SecretAccessKey, v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	}
	v4 := s.v4
	s.mu.Unlock()
	return v4.SignHTTP(ctx, c, r, hash, service, region, at, options...)
}

// refusals are the codes with which a store refuses wrong or expired credentials.
var refusals = []string{
	"InvalidAccessKeyId", "SignatureDoesNotMatch", "XAdminUserNotFound",
	"ExpiredToken", "InvalidToken", "TokenRefreshRequired", "RequestExpired",
}

// refused reports whether other credentials might change the reply. The reply to a HEAD has
// no code, so its status decides; for an expired token it is 400.
func refused(err error) bool {
	reply, ok := errors.AsType[*awshttp.ResponseError](err)
	if !ok {
		return false
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok && slices.Contains(refusals, api.ErrorCode()) {
		return true
	}
	switch reply.HTTPStatusCode() {
	case http.StatusUnauthorized, http.StatusForbidden:
		return true
	case http.StatusBadRequest:
		return reply.Response != nil && reply.Response.Request != nil && reply.Response.Request.Method == http.MethodHead
	}
	return false
}

// Credentials returns where the credentials come from and when they expire. from is the SDK's
// name of the source, or storage.access_key_id; ends is zero if no expiry is known.
func (b *Bucket) Credentials(ctx context.Context) (from string, ends time.Time, err error) {
	v, err := b.client.Options().Credentials.Retrieve(ctx)
	if err != nil {
		return "", ends, b.fail(opCheck, "", err)
	}
	if v.CanExpire {
		ends = v.Expires
	}
	return v.Source, ends, nil
}
