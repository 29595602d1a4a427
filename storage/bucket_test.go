package storage

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// serve opens a bucket of a server that answers as h does.
func serve(t *testing.T, h http.HandlerFunc, edit ...func(*Options)) *Bucket {
	t.Helper()
	return openOn(t, httptest.NewServer(h), edit...)
}

func openOn(t *testing.T, s *httptest.Server, edit ...func(*Options)) *Bucket {
	t.Helper()
	t.Cleanup(s.Close)
	o := Options{Endpoint: s.URL, Region: "eu-west-1", Bucket: "bucket", PathStyle: true,
		AccessKeyID: "AKIATEST", SecretAccessKey: "the-secret", Transport: s.Client().Transport}
	for _, f := range edit {
		f(&o)
	}
	b, err := OpenAtOnce(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// operations are all operations that send a request, for tests of what holds for each.
func operations(ctx context.Context, b *Bucket) map[string]func() error {
	u := &Upload{Key: "k", ID: "id", b: b}
	return map[string]func() error{
		opCheck:  func() error { return b.Check(ctx) },
		opPut:    func() error { _, err := b.Put(ctx, New{Key: "k"}, []byte("x"), sha256.Sum256([]byte("x"))); return err },
		opCreate: func() error { _, err := b.Create(ctx, New{Key: "k"}); return err },
		opPart:   func() error { return u.Part(ctx, []byte("x")) },
		opComplete: func() error {
			_, err := (&Upload{Key: "k", ID: "id", b: b, parts: []types.CompletedPart{{ETag: aws.String("e"), PartNumber: aws.Int32(1)}}}).Complete(ctx, 0)
			return err
		},
		opVersions: func() error {
			for _, err := range b.Versions(ctx, "k") {
				return err
			}
			return nil
		},
		opGetHold:      func() error { _, err := b.Hold(ctx, "k", "v"); return err },
		opGetRetention: func() error { _, err := b.Retention(ctx, "k", "v"); return err },
		opAbort:        func() error { return b.AbortUpload(ctx, "k", "id") },
		opUploads: func() error {
			for _, err := range b.Uploads(ctx, "k") {
				return err
			}
			return nil
		},
		opHead: func() error { _, err := b.Head(ctx, "k", ""); return err },
		opGet: func() error {
			r, _, err := b.Get(ctx, "k", "")
			if err == nil {
				err = r.Close()
			}
			return err
		},
		opList: func() error {
			for _, err := range b.List(ctx, "k") {
				return err
			}
			return nil
		},
	}
}

const emptyList = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"

func TestErrorNamesOperation(t *testing.T) {
	b := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Amz-Request-Id", "REQ1")
		w.WriteHeader(http.StatusForbidden)
	})
	for op, call := range operations(t.Context(), b) {
		var e *Error
		if err := call(); !errors.As(err, &e) || e.Op != op || e.Status != 403 || e.RequestID != "REQ1" || !errors.Is(err, ErrAccess) || e.Temporary() {
			t.Errorf("%s: %#v", op, err)
		}
	}
}

func TestHTML(t *testing.T) {
	var requests atomic.Int32
	page := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			requests.Add(1)
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "<!DOCTYPE html><html><head><meta a><title>Sign in</title><body>Hello<br>")
		}
	}
	for op, call := range operations(t.Context(), serve(t, page(503))) {
		requests.Store(0)
		var e *Error
		if err := call(); !errors.As(err, &e) || !e.Temporary() || e.Status != 503 {
			t.Errorf("%s: %v", op, err)
		}
		if requests.Load() != attempts {
			t.Errorf("%s: %d requests", op, requests.Load())
		}
	}
	for op, call := range operations(t.Context(), serve(t, page(200))) {
		if op == opHead || op == opGet || op == opAbort {
			continue // their replies have no required content
		}
		var e *Error
		if err := call(); !errors.As(err, &e) || !e.Temporary() {
			t.Errorf("%s of a page: %v", op, err)
		}
	}
}

func TestDeadline(t *testing.T) {
	b := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // else the end of the connection is not noticed
		<-r.Context().Done()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	for op, call := range operations(ctx, b) {
		var e *Error
		if err := call(); !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &e) || !e.Temporary() {
			t.Errorf("%s: %v", op, err)
		}
	}
}

func TestSkew(t *testing.T) {
	b := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
		w.WriteHeader(http.StatusNotFound)
	})
	if _, err := b.Head(t.Context(), "k", ""); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if d, ok := b.Skew(); !ok || (d+time.Hour).Abs() > 3*time.Second {
		t.Errorf("skew %v, %v", d, ok)
	}
}

func TestDefaultChain(t *testing.T) {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION",
		"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", t.TempDir()+"/none")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", t.TempDir()+"/none")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	bundle := t.TempDir() + "/ca.pem" // the SDK then refuses a client not its own
	tls := httptest.NewTLSServer(nil)
	defer tls.Close()
	if err := os.WriteFile(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: tls.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CA_BUNDLE", bundle)
	t.Setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1") // only credentials and region are taken
	var authorization string
	h := func(w http.ResponseWriter, r *http.Request) {
		authorization = r.Header.Get("Authorization")
		_, _ = io.WriteString(w, emptyList)
	}
	keyless := func(o *Options) { o.AccessKeyID, o.SecretAccessKey = "", "" }

	for op, call := range operations(t.Context(), serve(t, h, keyless)) {
		var e *Error
		err := call()
		if errors.Is(err, ErrAccess) || !errors.As(err, &e) || !e.Temporary() || !strings.Contains(err.Error(), "storage.access_key_id") {
			t.Errorf("%s without credentials: %v", op, err)
		}
	}
	if _, err := Open(t.Context(), Options{Bucket: "b"}); err == nil || !strings.Contains(err.Error(), "storage.region") {
		t.Errorf("opened without a region: %v", err)
	}

	role := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", "Thu, 01 Jan 1970 00:00:00 GMT") // not the store's clock
		_, _ = io.WriteString(w, `{"AccessKeyId": "AKIAROLE", "SecretAccessKey": "role-secret", "Token": "t"}`)
	}))
	defer role.Close()
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", role.URL)
	b := serve(t, h, keyless)
	if err := b.Check(t.Context()); err != nil || !strings.Contains(authorization, "Credential=AKIAROLE/") {
		t.Errorf("%v, %s", err, authorization)
	}
	if d, ok := b.Skew(); !ok || d.Abs() > time.Minute {
		t.Errorf("skew %v", d)
	}

	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAENV")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "env-secret")
	if err := serve(t, h, keyless).Check(t.Context()); err != nil || !strings.Contains(authorization, "Credential=AKIAENV/") || !strings.Contains(authorization, "/eu-west-1/") {
		t.Errorf("%v, %s", err, authorization)
	}
}

func TestOptions(t *testing.T) {
	good := Options{Endpoint: "https://s3.example.org", Region: "r", Bucket: "b", AccessKeyID: "a", SecretAccessKey: "the-secret"}
	for name, edit := range map[string]func(*Options){
		"bucket":     func(o *Options) { o.Bucket = "" },
		"half a key": func(o *Options) { o.AccessKeyID = "" },
		"encryption": func(o *Options) { o.Encryption = "rot13" },
		"checksum":   func(o *Options) { o.Checksum = "crc" },
		"scheme":     func(o *Options) { o.Endpoint = "s3.example.org:443" },
		"userinfo":   func(o *Options) { o.Endpoint = "https://me:the-secret@s3.example.org" },
		"query":      func(o *Options) { o.Endpoint = "https://s3.example.org?token=the-secret" },
	} {
		o := good
		edit(&o)
		if _, err := Open(t.Context(), o); err == nil || strings.Contains(err.Error(), "the-secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	b, err := Open(t.Context(), good)
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(good)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprintf("%v %+v %#v %s", good, &good, good, good), string(asJSON), fmt.Sprintf("%+v %#v", b, *b)} {
		if strings.Contains(s, "the-secret") {
			t.Errorf("shows the secret: %s", s)
		}
	}
}

// TestObserve wants Observe called for every exchange, repeated ones too.
func TestObserve(t *testing.T) {
	replies := 0
	var told []string
	b := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if replies++; replies == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}, func(o *Options) {
		o.Observe = func(op string, status int) { told = append(told, fmt.Sprint(op, " ", status)) }
	})
	if _, err := b.Head(t.Context(), "k", ""); err != nil {
		t.Fatal(err)
	}
	if want := []string{"HeadObject 503", "HeadObject 200"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

// TestCheckListsBelowPrefix wants no request for more of the bucket than the archive has.
func TestCheckListsBelowPrefix(t *testing.T) {
	var asked []string
	b := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, fmt.Sprintf("%s %s %s", r.Method, r.URL.Path, r.URL.Query().Get("prefix")))
		_, _ = io.WriteString(w, emptyList)
	}, func(o *Options) { o.Prefix = "archive/genesys" })
	if err := b.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := []string{"GET /bucket archive/genesys/"}; !slices.Equal(asked, want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
}
