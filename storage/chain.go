package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go"
)

// chain is the AWS default chain. It is loaded when credentials are first needed, and
// loading is repeated until it succeeds, because the files that it reads may be written
// after this process has started. It renews credentials that expire; see
// aws.CredentialsCache.
type chain struct {
	load func(context.Context) (aws.Config, error)

	mu     sync.Mutex
	loaded aws.CredentialsProvider
}

// Retrieve implements aws.CredentialsProvider. It fails with a *credentialsError, so that
// callers do not mistake the failure for one of the store.
func (c *chain) Retrieve(ctx context.Context) (aws.Credentials, error) {
	p, err := c.provider(ctx)
	if err != nil {
		return aws.Credentials{}, err
	}
	v, err := p.Retrieve(ctx)
	if err != nil {
		return v, &credentialsError{err, denied(err)}
	}
	return v, nil
}

func (c *chain) provider(ctx context.Context) (aws.CredentialsProvider, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.loaded == nil {
		cfg, err := c.load(ctx)
		if err != nil {
			_, none := errors.AsType[config.SharedConfigProfileNotExistError](err)
			later := none || errors.Is(err, fs.ErrNotExist)
			return nil, &credentialsError{fmt.Errorf("AWS default configuration: %w", err), !later}
		}
		c.loaded = cfg.Credentials
	}
	return c.loaded, nil
}

// anew loads the chain again. The credentials of before stay until there are others.
func (c *chain) anew(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	cfg, err := c.load(ctx)
	if err != nil {
		return err
	}
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
		return err
	}
	c.loaded = cfg.Credentials
	return nil
}

// credentialsError says that there are no credentials. If lasting is set, a person has to
// change the configuration or a role. Otherwise the credentials may appear without help,
// for example when a token or file is written or a metadata service starts to answer.
type credentialsError struct {
	err     error
	lasting bool
}

func (e *credentialsError) Error() string { return e.err.Error() }
func (e *credentialsError) Unwrap() error { return e.err }

// passing are the refusals that end when another program writes the next token: those of
// STS (ExpiredToken…, Invalid…, IDP…) and of IAM Identity Center.
var passing = []string{"ExpiredTokenException", "InvalidIdentityToken", "IDPCommunicationError", "UnauthorizedException"}

// denied reports whether a service answered and refused for good. A 404 of a metadata
// service is not such a refusal: the machine has no role yet.
func denied(err error) bool {
	var reply interface{ HTTPStatusCode() int }
	if !errors.As(err, &reply) {
		return false
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok && slices.Contains(passing, api.ErrorCode()) {
		return false
	}
	switch status := reply.HTTPStatusCode(); status {
	case http.StatusNotFound, http.StatusRequestTimeout, http.StatusTooManyRequests:
		return false
	default:
		return status >= 400 && status < 500
	}
}
