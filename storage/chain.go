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

// chain is the AWS default chain. It is set up when credentials are first asked for, and
// again until that works: what it reads may be written after this process has started.
// It renews credentials that end by themselves; see aws.CredentialsCache.
type chain struct {
	load func(context.Context) (aws.Config, error)

	mu     sync.Mutex
	loaded aws.CredentialsProvider
}

// Retrieve implements aws.CredentialsProvider. Its failures can be told from the store's own.
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
			var none config.SharedConfigProfileNotExistError
			later := errors.As(err, &none) || errors.Is(err, fs.ErrNotExist)
			return nil, &credentialsError{fmt.Errorf("AWS default configuration: %w", err), !later}
		}
		c.loaded = cfg.Credentials
	}
	return c.loaded, nil
}

// anew forgets what was read, so that it is read again.
func (c *chain) anew(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.loaded = nil
	return nil
}

// credentialsError says that there are no credentials. With lasting it takes a person who
// changes the configuration or a role; otherwise they may come by themselves: a token or a
// file that is not there yet, a metadata service that does not answer yet.
type credentialsError struct {
	err     error
	lasting bool
}

func (e *credentialsError) Error() string { return e.err.Error() }
func (e *credentialsError) Unwrap() error { return e.err }

// passing are the refusals that end with the next token, which somebody else brings: of
// STS (ExpiredToken…, Invalid…, IDP…) and of IAM Identity Center.
var passing = []string{"ExpiredTokenException", "InvalidIdentityToken", "IDPCommunicationError", "UnauthorizedException"}

// denied tells that a service answered, and refused. A metadata service that answers 404
// has no role for this machine yet.
func denied(err error) bool {
	var reply interface{ HTTPStatusCode() int }
	if !errors.As(err, &reply) {
		return false
	}
	var api smithy.APIError
	if errors.As(err, &api) && slices.Contains(passing, api.ErrorCode()) {
		return false
	}
	switch status := reply.HTTPStatusCode(); status {
	case http.StatusNotFound, http.StatusRequestTimeout, http.StatusTooManyRequests:
		return false
	default:
		return status >= 400 && status < 500
	}
}
