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
		return errors.New("the endpoint must be http:// or https://, a host, and nothing secret") // not shown: it may hold a password
	}
	return nil
}

// credentials gives the credentials and the region to sign for.
func (o *Options) credentials(ctx context.Context) (source, string, error) {
	region := o.Region
	if region == "" && o.Endpoint != "" {
		region = "us-east-1"
	}
	load := func(ctx context.Context) (aws.Config, error) {
		// Its own HTTP client: the Date of a metadata service is not the store's.
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
		k := &keys{again: o.Again}
		k.set(o.AccessKeyID, o.SecretAccessKey)
		return k, region, nil
	}
	return &chain{load: load}, region, nil
}

// chainClient is what the default chain fetches credentials with. Where
// AWS_CA_BUNDLE is set it insists on the SDK's own type, so the means of our
// transport are lent to one of those.
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

// httpClient follows no redirect: a signature is good for one host only. See follow.
func httpClient(rt http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     rt,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// transport names us to the store, reads its clock and counts the exchanges.
type transport struct {
	base      http.RoundTripper
	userAgent string
	skew      *atomic.Pointer[time.Duration]
	observe   func(op string, status int)
}

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if t.userAgent != "" { // not among the signed headers
		req = req.Clone(req.Context())
		req.Header.Set("User-Agent", t.userAgent+" "+req.Header.Get("User-Agent"))
	}
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
	// Only an object is read as it streams. All else is held in memory as a whole.
	if middleware.GetOperationName(req.Context()) != "GetObject" || resp.StatusCode >= 300 {
		resp.Body = &bounded{resp.Body, maxReply}
	}
	return resp, nil
}

// maxReply bounds a reply that is no object: a listing of 1,000 long keys has 4 MB.
const maxReply = 16 << 20

// bounded fails a body that goes on for too long.
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

// signed tells the signer the body's SHA-256, which is known: it would hash
// the body once more over http, and leave it unsigned over https.
func signed(sum [32]byte) func(*s3.Options) { return payloadHash(hex.EncodeToString(sum[:])) }

// unsigned leaves the body out of the signature, over http too, where the signer
// would hash it for that: two thirds of what a part costs. Its CRC-32 is signed.
func unsigned() func(*s3.Options) { return payloadHash("UNSIGNED-PAYLOAD") }

func payloadHash(hash string) func(*s3.Options) {
	m := middleware.InitializeMiddlewareFunc("PayloadHash", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
		return next.HandleInitialize(v4.SetPayloadHash(ctx, hash), in)
	})
	return s3.WithAPIOptions(func(s *middleware.Stack) error { return s.Initialize.Add(m, middleware.Before) })
}
