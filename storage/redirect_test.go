package storage

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestRedirect answers every request with a redirect: to a second server, and to hosts to
// which the client must not follow.
func TestRedirect(t *testing.T) {
	var seen []string
	second := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.ContentLength > 0 && len(body) == 0 || !strings.Contains(r.Header.Get("Authorization"), "SignedHeaders=") || r.URL.Query().Get("rk") != "1" {
			t.Errorf("%s %s: %q, %v", r.Method, r.URL, body, r.Header)
		}
		seen = append(seen, r.Header.Get("Authorization"))
		w.Header().Set("ETag", `"e"`)
		_, _ = io.WriteString(w, map[string]string{
			"uploads":    "<InitiateMultipartUploadResult><UploadId>id</UploadId></InitiateMultipartUploadResult>",
			"uploadId":   "<CompleteMultipartUploadResult><Key>k</Key></CompleteMultipartUploadResult>",
			"list-type":  emptyList,
			"legal-hold": "<LegalHold><Status>OFF</Status></LegalHold>",
			"retention":  "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2030-01-01T00:00:00Z</RetainUntilDate></Retention>",
			"GET":        emptyList, // of uploads
		}[questionOf(r)])
	}).opts.Endpoint
	for name, tc := range map[string]struct {
		status   int
		location string
		region   string
		followed bool
	}{
		"followed":          {307, second, "", true},
		"to our own region": {307, second, "eu-west-1", true},
		"another region":    {307, second, "us-west-2", false},
		"another host":      {307, "http://other.example", "", false},
		"another scheme":    {307, strings.Replace(second, "http:", "https:", 1), "", false},
		"no location":       {307, "", "", false},
		"for ever":          {301, second, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			var first []string
			b := serve(t, func(w http.ResponseWriter, r *http.Request) {
				first = append(first, r.Header.Get("Authorization"))
				if tc.region != "" {
					w.Header().Set("X-Amz-Bucket-Region", tc.region)
				}
				if tc.location != "" {
					w.Header().Set("Location", tc.location+r.URL.Path+"?rk=1")
				}
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, "<Error><Code>TemporaryRedirect</Code></Error>")
			})
			for op, call := range operations(t.Context(), b) {
				first, seen = nil, nil
				err := call()
				if (err == nil) != tc.followed || (len(seen) == 1) != tc.followed || len(first) != 1 {
					t.Errorf("%s: %v after %d and %d requests", op, err, len(first), len(seen))
				} else if tc.followed && first[0] == seen[0] {
					t.Errorf("%s: sent with the first host's signature", op)
				}
				if errors.Is(err, ErrRegion) != (tc.region == "us-west-2" || tc.status == 301) {
					t.Errorf("%s: %v", op, err)
				}
			}
		})
	}
}

// TestRedirectBeforeTheBody redirects parts without reading them, which resets the
// connection of a client that sends them all the same.
func TestRedirectBeforeTheBody(t *testing.T) {
	var got atomic.Int64
	second := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		got.Add(n)
		w.Header().Set("ETag", `"e"`)
	}).opts.Endpoint
	b := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", second+r.URL.Path)
		w.WriteHeader(http.StatusTemporaryRedirect)
	}, func(o *Options) { o.Transport = &http.Transport{ExpectContinueTimeout: time.Minute} })
	if _, err := b.Head(t.Context(), "k", ""); err != nil {
		t.Fatal(err)
	}
	u := &Upload{Key: "k", ID: "id", b: b}
	for i := range 20 {
		for _, size := range []int{1 << 20, MinPartSize} { // the SDK itself asks before the latter
			u.short = false
			if err := u.Part(t.Context(), make([]byte, size)); err != nil {
				t.Fatalf("part %d of %d bytes: %v", i, size, err)
			}
		}
	}
	if want := int64(20 * (1<<20 + MinPartSize)); got.Load() != want {
		t.Errorf("%d bytes arrived of %d", got.Load(), want)
	}
}

// questionOf is by what S3 tells operations apart.
// questionOf returns the part of a query by which S3 distinguishes operations.
func questionOf(r *http.Request) string {
	for _, name := range []string{"partNumber", "uploads", "uploadId", "list-type", "legal-hold", "retention"} {
		if r.URL.Query().Has(name) && (name != "uploads" || r.Method != http.MethodGet) {
			return name
		}
	}
	return r.Method
}

func TestRedirectInCircles(t *testing.T) {
	requests := 0
	b := serve(t, func(w http.ResponseWriter, r *http.Request) {
		requests++
		http.Redirect(w, r, fmt.Sprintf("%s?hop=%d", r.URL.Path, requests), http.StatusTemporaryRedirect)
	})
	var e *Error
	if _, err := b.Head(t.Context(), "k", ""); !errors.As(err, &e) || !e.Temporary() || requests != maxHops+1 {
		t.Errorf("%v after %d requests", err, requests)
	}
}

func TestSameDomain(t *testing.T) {
	for hosts, want := range map[string]bool{
		"b.s3.eu-west-2.amazonaws.com b.s3-gztb4pa9sq.amazonaws.com": true,
		"s3.amazonaws.com b.s3.cn-north-1.amazonaws.com.cn":          false,
		"s3.amazonaws.com amazonaws.com.example.org":                 false,
		"s3.amazonaws.com evilamazonaws.com":                         false,
		"s3.example.org s3.example.org":                              true,
		"s3.example.org west.s3.example.org":                         true,
		"s3.example.org example.org":                                 false,
		"s3.example.org xs3.example.org":                             false,
		"10.0.0.1 10.0.0.2":                                          false,
	} {
		from, to, _ := strings.Cut(hosts, " ")
		if sameDomain(from, to) != want {
			t.Errorf("%s: want %v", hosts, want)
		}
	}
}

// TestRegionNamed wants the region found in all places where stores name it.
func TestRegionNamed(t *testing.T) {
	for name, tc := range map[string]struct {
		status       int
		header, body string
		region       string // "": none is named
	}{
		"S3, elsewhere":         {301, "us-west-2", "<Error><Code>PermanentRedirect</Code></Error>", "us-west-2"},
		"S3, signed for":        {400, "", "<Error><Code>AuthorizationHeaderMalformed</Code><Message>The authorization header is malformed; the region 'eu-west-1' is wrong; expecting 'us-west-2'</Message><Region>us-west-2</Region></Error>", "us-west-2"},
		"versitygw, signed for": {400, "", `<Error><Code>AuthorizationHeaderMalformed</Code><Message>The authorization header is malformed; the region "eu-west-1" is wrong; expecting "us-west-2"</Message></Error>`, "us-west-2"},
		"HEAD":                  {400, "us-west-2", "", "us-west-2"},
		"HEAD, elsewhere":       {301, "us-west-2", "", "us-west-2"},
		"not named":             {301, "", "<Error><Code>PermanentRedirect</Code></Error>", ""},
		"malformed otherwise":   {400, "eu-west-1", "<Error><Code>AuthorizationHeaderMalformed</Code></Error>", ""},
	} {
		b := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			if tc.header != "" {
				w.Header().Set("X-Amz-Bucket-Region", tc.header)
			}
			w.WriteHeader(tc.status)
			_, _ = io.WriteString(w, tc.body)
		})
		for op, call := range operations(t.Context(), b) {
			if (tc.body == "") != (op == opHead) {
				continue
			}
			var e *Error
			err := call()
			if !errors.Is(err, ErrRegion) || !SetUp(err) || !errors.As(err, &e) || e.Temporary() ||
				tc.region != "" && !strings.Contains(err.Error(), "the bucket is in "+tc.region+": set storage.region") {
				t.Errorf("%s, %s: %v", name, op, err)
			}
		}
	}
	// Other refusals say nothing about the region, even if they name one.
	b := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Amz-Bucket-Region", "us-west-2")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, "<Error><Code>BadDigest</Code></Error>")
	})
	if err := operations(t.Context(), b)[opPut](); !errors.Is(err, ErrChecksum) || errors.Is(err, ErrRegion) {
		t.Error(err)
	}
}
