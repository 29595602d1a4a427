package storage

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/encoding/httpbinding"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// maxHops bounds the redirects of one request.
const maxHops = 3

// follow resends a request to the host that S3 redirects it to. S3 does that for a while
// after a bucket was created (Amazon S3 User Guide, "Request routing and redirection"). The
// SDK leaves redirects to its HTTP client, which keeps the signature, and a signature is
// valid for one host. So this middleware stands right before the signer. It does not
// remember a redirect: the next request goes to the endpoint again. While S3 redirects, no
// body is sent before the server says to go on: a server that does not want a body may
// reset the connection, and the redirect is lost.
func follow(region string) func(*s3.Options) {
	var redirects atomic.Bool
	m := middleware.FinalizeMiddlewareFunc("Follow", func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (out middleware.FinalizeOutput, md middleware.Metadata, err error) {
		req, ok := in.Request.(*smithyhttp.Request)
		if !ok {
			return next.HandleFinalize(ctx, in)
		}
		for hop := 0; ; hop++ {
			attempt := req.Clone()
			if hop == 0 && redirects.Load() && attempt.ContentLength > 0 {
				attempt.Header.Set("Expect", "100-continue")
				attempt.ProtoMajor, attempt.ProtoMinor = 1, 1 // the SDK leaves them 0, for which net/http does not wait
			}
			in.Request = attempt
			out, md, err = next.HandleFinalize(ctx, in)
			to := redirected(err, req.URL, region)
			if hop == 0 && (err == nil || to != nil) {
				redirects.Store(to != nil)
			}
			if to == nil || hop == maxHops {
				return out, md, err
			}
			if err := req.RewindStream(); err != nil {
				return out, md, err
			}
			req.URL, req.Host = to, ""
		}
	})
	return s3.WithAPIOptions(func(s *middleware.Stack) error { return s.Finalize.Insert(m, "Signing", middleware.Before) })
}

// redirected returns the URL that a request has to be sent to instead; nil if there is no
// redirect to follow. A redirect to another region is not followed: the host there would
// refuse the signature.
func redirected(err error, from *url.URL, region string) *url.URL {
	reply, ok := errors.AsType[*awshttp.ResponseError](err)
	if !ok || reply.Response == nil || reply.Response.StatusCode != http.StatusTemporaryRedirect {
		return nil
	}
	to, bad := from.Parse(reply.Response.Header.Get("Location"))
	if bad != nil || to.String() == from.String() || to.Scheme != from.Scheme || to.User != nil || !sameDomain(from.Hostname(), to.Hostname()) ||
		elsewhere(reply.Response.Header, err, region) != "" {
		return nil
	}
	query := from.Query()
	for name, values := range to.Query() {
		query[name] = values
	}
	// Encode query and path as the signature needs them, however the store wrote them.
	to.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20")
	to.RawPath = httpbinding.EscapePath(to.Path, false)
	return to
}

// sameDomain reports whether both hosts are Amazon's, or to is from or a host below it.
func sameDomain(from, to string) bool {
	for _, aws := range []string{".amazonaws.com", ".amazonaws.com.cn"} {
		if strings.HasSuffix(from, aws) {
			return strings.HasSuffix(to, aws)
		}
	}
	return to == from || strings.HasSuffix(to, "."+from)
}

// expected matches the region that S3 and others name in the message of AuthorizationHeaderMalformed.
var expected = regexp.MustCompile(`expecting ['"]([a-z0-9-]+)['"]`)

// elsewhere returns the bucket's region as a refusal names it, or "" if the refusal names no
// region or the given one.
func elsewhere(h http.Header, err error, region string) string {
	is := h.Get("X-Amz-Bucket-Region")
	if api, ok := errors.AsType[smithy.APIError](err); ok && is == "" && api.ErrorCode() == "AuthorizationHeaderMalformed" {
		if m := expected.FindStringSubmatch(api.ErrorMessage()); m != nil {
			is = m[1]
		}
	}
	if is == region {
		return ""
	}
	return is
}
