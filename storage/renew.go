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

// source gives credentials, and reads again what they come from.
type source interface {
	aws.CredentialsProvider
	anew(context.Context) error
}

// keys are an access key of the configuration.
type keys struct {
	again func() (accessKeyID, secretAccessKey string, err error) // may be nil

	mu    sync.Mutex
	value aws.Credentials
}

// keysSource is the Source of credentials that the options give.
const keysSource = "storage.access_key_id"

func (k *keys) set(id, secret string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.value = aws.Credentials{AccessKeyID: id, SecretAccessKey: secret, Source: keysSource}
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

// renewal sends a request once more, with other credentials, where the store refuses those
// that it had: they may have been replaced since they were read.
type renewal struct {
	source
	mu sync.Mutex // held while credentials are read again
}

// usedKey is where a context keeps the credentials of its request.
type usedKey struct{}

// Retrieve implements aws.CredentialsProvider.
func (r *renewal) Retrieve(ctx context.Context) (aws.Credentials, error) {
	v, err := r.source.Retrieve(ctx)
	if used, ok := ctx.Value(usedKey{}).(*aws.Credentials); ok && err == nil {
		*used = v
	}
	return v, err
}

// ID names the middleware.
func (*renewal) ID() string { return "RenewCredentials" }

// HandleFinalize stands around the SDK's own repeats.
func (r *renewal) HandleFinalize(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
	req, ok := in.Request.(*smithyhttp.Request)
	if !ok {
		return next.HandleFinalize(ctx, in)
	}
	again := req.Clone() // before it is signed
	var used aws.Credentials
	out, meta, err := next.HandleFinalize(context.WithValue(ctx, usedKey{}, &used), in)
	if !refused(err) || !r.differs(ctx, used) || again.RewindStream() != nil {
		return out, meta, err
	}
	return next.HandleFinalize(ctx, middleware.FinalizeInput{Request: again})
}

// differs tells whether there are other credentials than those used.
func (r *renewal) differs(ctx context.Context, used aws.Credentials) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	other := func() bool {
		now, err := r.source.Retrieve(ctx)
		return err == nil && (now.AccessKeyID != used.AccessKeyID || now.SecretAccessKey != used.SecretAccessKey || now.SessionToken != used.SessionToken)
	}
	return used.HasKeys() && (other() || r.anew(ctx) == nil && other())
}

// signer is the SDK's for S3, made anew where a secret is replaced: it keeps what it derives
// from a secret by the key's id alone.
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

// refusals are the codes of credentials that a store does not take, or takes no more.
var refusals = []string{
	"InvalidAccessKeyId", "SignatureDoesNotMatch", "XAdminUserNotFound",
	"ExpiredToken", "InvalidToken", "TokenRefreshRequired", "RequestExpired",
}

// refused tells a reply that other credentials may change. That to a HEAD has no code: then
// it is the status, which is 400 for a token that has ended.
func refused(err error) bool {
	var reply *awshttp.ResponseError
	if !errors.As(err, &reply) {
		return false
	}
	var api smithy.APIError
	if errors.As(err, &api) && slices.Contains(refusals, api.ErrorCode()) {
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

// Credentials tells from where the credentials come, in the SDK's words but for those that
// the options give, and when they end; the zero time: nobody says.
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
