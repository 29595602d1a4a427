package storage

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

func (o *Options) check() error {
	switch {
	case o.Bucket == "":
		return errors.New("no bucket is named")
	case (o.AccessKeyID == "") != (o.SecretAccessKey == ""):
		return errors.New("access key id and secret access key must be given together")
	}
	switch o.Encryption {
	case "", "none", "AES256", "aws:kms":
	default:
		return fmt.Errorf("unknown encryption %q", o.Encryption)
	}
	switch o.Checksum {
	case "", "auto", "md5":
	default:
		return fmt.Errorf("unknown checksum %q", o.Checksum)
	}
	if o.Endpoint == "" {
		return nil
	}
	u, err := url.Parse(o.Endpoint)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("the endpoint must be http:// or https:// and a host, without user, query or fragment") // not shown: it may hold a password
	}
	return nil
}

// credentials returns the source of the credentials and the region to sign for.
func (o *Options) credentials(ctx context.Context) (source, string, error) {
	region := o.Region
	if region == "" && o.Endpoint != "" {
		region = "us-east-1"
	}
	load := func(ctx context.Context) (aws.Config, error) {
		// The chain has its own HTTP client, so that Skew ignores a metadata service's Date.
		return config.LoadDefaultConfig(ctx, config.WithRegion(region), config.WithLogger(logging.Nop{}),
			config.WithHTTPClient(chainClient(o.Transport)))
	}
	if region == "" {
		cfg, err := load(ctx)
		if err != nil {
			return nil, "", fmt.Errorf("AWS default configuration: %w", err)
		}
		if region = cfg.Region; region == "" {
			return nil, "", errors.New("no region: set storage.region")
		}
	}
	if o.AccessKeyID != "" {
		k := &keys{again: o.Again, session: o.SessionToken}
		k.set(o.AccessKeyID, o.SecretAccessKey)
		return k, region, nil
	}
	return &chain{load: load}, region, nil
}

// chainClient returns the HTTP client with which the default chain fetches
// credentials. With AWS_CA_BUNDLE set the chain accepts only the SDK's own
// client type, so such a client gets the settings of our transport.
func chainClient(rt http.RoundTripper) config.HTTPClient {
	if renewing, ok := rt.(interface{ Current() *http.Transport }); ok {
		rt = renewing.Current()
	}
	ours, ok := rt.(*http.Transport)
	if !ok {
		return httpClient(rt)
	}
	return awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.Proxy, t.DialContext, t.DialTLSContext = ours.Proxy, ours.DialContext, ours.DialTLSContext
		if ours.TLSClientConfig == nil {
			return
		}
		t.TLSClientConfig = ours.TLSClientConfig.Clone()
		if roots := t.TLSClientConfig.RootCAs; roots != nil {
			t.TLSClientConfig.RootCAs = roots.Clone() // the bundle is added to it
		}
	})
}

// httpClient follows no redirect, because a signature is valid for one host only. See follow.
func httpClient(rt http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     rt,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// named puts a name before the SDK's own in the header User-Agent. That is not among the
// signed headers.
func named(userAgent string) func(*middleware.Stack) error {
	m := middleware.BuildMiddlewareFunc("Name", func(ctx context.Context, in middleware.BuildInput, next middleware.BuildHandler) (middleware.BuildOutput, middleware.Metadata, error) {
		if req, ok := in.Request.(*smithyhttp.Request); ok && userAgent != "" {
			req.Header.Set("User-Agent", userAgent+" "+req.Header.Get("User-Agent"))
		}
		return next.HandleBuild(ctx, in)
	})
	return func(s *middleware.Stack) error { return s.Build.Add(m, middleware.After) }
}

// transport reads the store's clock, calls observe and bounds replies.
type transport struct {
	base    http.RoundTripper
	skew    *atomic.Pointer[time.Duration]
	observe func(op string, status int)
}

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.base.RoundTrip(req)
	if t.observe != nil {
		status := 0
		if resp != nil {
			status = resp.StatusCode
		}
		t.observe(middleware.GetOperationName(req.Context()), status)
	}
	if err != nil {
		return nil, err
	}
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		skew := time.Until(date)
		t.skew.Store(&skew)
	}
	// Only an object is streamed. The SDK holds all other replies in memory.
	if middleware.GetOperationName(req.Context()) != "GetObject" || resp.StatusCode >= 300 {
		resp.Body = &bounded{resp.Body, maxReply}
	}
	return resp, nil
}

// maxReply bounds every reply but an object: a listing of 1,000 long keys has 4 MB.
const maxReply = 16 << 20

// bounded is a body that fails after left bytes.
type bounded struct {
	io.ReadCloser
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("the reply has more than %d MiB", maxReply>>20)
	}
	return n, err
}

// signed signs the body by its known SHA-256. By itself the signer would hash the
// body again over http, and leave it unsigned over https.
func signed(sum [32]byte) func(*s3.Options) { return payloadHash(hex.EncodeToString(sum[:])) }

// unsigned leaves the body out of the signature, over http too, where hashing it
// would be two thirds of the cost of a part. The body's CRC-32 is signed.
func unsigned() func(*s3.Options) { return payloadHash("UNSIGNED-PAYLOAD") }

func payloadHash(hash string) func(*s3.Options) {
	m := middleware.InitializeMiddlewareFunc("PayloadHash", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
		return next.HandleInitialize(v4.SetPayloadHash(ctx, hash), in)
	})
	return s3.WithAPIOptions(func(s *middleware.Stack) error { return s.Initialize.Add(m, middleware.Before) })
}
