package storage

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestHeadChecksum(t *testing.T) {
	const crc, crcParts = "pb/7NQ==", "pb/7NQ==-2"
	for name, tc := range map[string]struct {
		header map[string]string
		want   Checksum
	}{
		"none":              {map[string]string{}, Checksum{}},
		"full":              {map[string]string{"ETag": `"e-2"`, "X-Amz-Checksum-Crc32": crc, "X-Amz-Checksum-Type": "FULL_OBJECT"}, Checksum{"CRC32", crc}},
		"composite":         {map[string]string{"ETag": `"e-2"`, "X-Amz-Checksum-Crc32": crcParts, "X-Amz-Checksum-Type": "COMPOSITE"}, Checksum{}},
		"composite, bare":   {map[string]string{"ETag": `"e"`, "X-Amz-Checksum-Crc32": crc, "X-Amz-Checksum-Type": "COMPOSITE"}, Checksum{}},
		"untyped":           {map[string]string{"ETag": `"e"`, "X-Amz-Checksum-Crc32": crc}, Checksum{"CRC32", crc}},
		"untyped of parts":  {map[string]string{"ETag": `"e-2"`, "X-Amz-Checksum-Crc32": crcParts}, Checksum{}},
		"untyped, bare":     {map[string]string{"ETag": `"e-2"`, "X-Amz-Checksum-Crc32": crc}, Checksum{}},
		"full, contradicts": {map[string]string{"X-Amz-Checksum-Crc32": crcParts, "X-Amz-Checksum-Type": "FULL_OBJECT"}, Checksum{}},
		"several":           {map[string]string{"X-Amz-Checksum-Sha1": "s", "X-Amz-Checksum-Crc64nvme": "n", "X-Amz-Checksum-Sha256": "x"}, Checksum{"SHA256", "x"}},
	} {
		b := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Amz-Checksum-Mode") != "ENABLED" {
				t.Error("checksum not asked for")
			}
			for k, v := range tc.header {
				w.Header().Set(k, v)
			}
		})
		if o, err := b.Head(t.Context(), "k", ""); err != nil || o.Checksum != tc.want {
			t.Errorf("%s: %+v, %v", name, o.Checksum, err)
		}
	}
}

func TestExpiry(t *testing.T) {
	date := time.Date(2012, 12, 21, 0, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Time{
		"": {},
		`expiry-date="Fri, 21 Dec 2012 00:00:00 GMT", rule-id="picture-deletion-rule"`: date,
		`rule-id="a, b", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT"`:                  date,
		`expiry-date="soon", rule-id="x"`:                                              time.Unix(0, 0),
		`rule-id="x"`:                                                                  time.Unix(0, 0),
	} {
		b := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			if header != "" {
				w.Header().Set("X-Amz-Expiration", header)
			}
		})
		if o, err := b.Head(t.Context(), "k", ""); err != nil || !o.Expires.Equal(want) {
			t.Errorf("%q: %v, %v", header, o.Expires, err)
		}
	}
}

func TestGetTruncated(t *testing.T) {
	b := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, "half")
	})
	r, o, err := b.Get(t.Context(), "k", "")
	if err != nil || o.Size != 10 {
		t.Fatal(o, err)
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	e, ok := errors.AsType[*Error](err)
	if string(got) != "half" || !ok || !e.Temporary() || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestListPages(t *testing.T) {
	const key = "<Contents><Key>%s</Key><Size>1</Size></Contents>"
	for name, tc := range map[string]struct {
		pages []string // of ListBucketResult
		keys  string
		fails bool
	}{
		"encoded": {[]string{`<IsTruncated>false</IsTruncated><EncodingType>url</EncodingType>` + fmt.Sprintf(key, "a%01%25+b%2B")}, "a\x01% b+ ", false},
		"plain":   {[]string{`<IsTruncated>false</IsTruncated>` + fmt.Sprintf(key, "a%25+b")}, "a%25+b ", false},
		"two": {[]string{`<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>` + fmt.Sprintf(key, "a"),
			`<IsTruncated>false</IsTruncated>` + fmt.Sprintf(key, "b")}, "a b ", false},
		"no token": {[]string{`<IsTruncated>true</IsTruncated>` + fmt.Sprintf(key, "a")}, "", true},
		"same token": {[]string{`<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>` + fmt.Sprintf(key, "a"),
			`<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>` + fmt.Sprintf(key, "b")}, "a ", true},
		"no end":  {[]string{fmt.Sprintf(key, "a")}, "", true},
		"bad key": {[]string{`<IsTruncated>false</IsTruncated><EncodingType>url</EncodingType>` + fmt.Sprintf(key, "a%")}, "", true},
	} {
		n := 0
		b := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if n > 0 && r.URL.Query().Get("continuation-token") != "t" {
				t.Errorf("%s: %s", name, r.URL)
			}
			_, _ = fmt.Fprintf(w, "<ListBucketResult>%s</ListBucketResult>", tc.pages[n])
			n++
		})
		var keys string
		var failed error
		for o, err := range b.List(t.Context(), "") {
			if failed = err; err == nil {
				keys += o.Key + " "
			}
		}
		if keys != tc.keys || (failed != nil) != tc.fails {
			t.Errorf("%s: %q, %v", name, keys, failed)
		}
	}
}

func TestMetadataRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := string(rapid.SliceOfN(rapid.OneOf(rapid.Byte(), rapid.SampledFrom([]byte(" %=?"))), 1, 50).Draw(t, "value"))
		sent, err := encodeMetadata(map[string]string{"a": value, "empty": ""})
		if err != nil {
			t.Fatal(err)
		}
		for i := range len(sent["a"]) {
			if c := sent["a"][i]; c < ' ' || c > '~' {
				t.Fatalf("%q is sent as %q", value, sent["a"])
			}
		}
		if got := decodeMetadata(sent); len(got) != 1 || got["a"] != value {
			t.Fatalf("%q comes back as %q", value, got)
		}
	})
	for in, want := range map[string]string{"100%": "100%", "%zz%4": "%zz%4", "%41": "A"} { // others' objects
		if got := unescape(in); got != want {
			t.Errorf("unescape(%q) is %q", in, got)
		}
	}
}

// TestMissingToWhoMayNotListAll answers a request for a missing object with 403, as S3 may if
// the caller may list only a part of the bucket. Other refusals must not become ErrNotFound.
func TestMissingToWhoMayNotListAll(t *testing.T) {
	const page = "<ListBucketResult><IsTruncated>false</IsTruncated>%s</ListBucketResult>"
	for name, tc := range map[string]struct {
		listing string // "": refused too
		version string
		want    error
	}{
		"not listed":       {fmt.Sprintf(page, "<Contents><Key>k~2</Key></Contents>"), "", ErrNotFound},
		"listed":           {fmt.Sprintf(page, "<Contents><Key>k</Key></Contents>"), "", ErrAccess},
		"listing refused":  {"", "", ErrAccess},
		"of one version":   {fmt.Sprintf(page, ""), "v", ErrAccess},
		"listing a riddle": {"<html></html>", "", ErrAccess},
	} {
		b := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("prefix") != "k" || tc.listing == "" {
				w.WriteHeader(http.StatusForbidden)
				_, _ = io.WriteString(w, "<Error><Code>AccessDenied</Code></Error>")
				return
			}
			_, _ = io.WriteString(w, tc.listing)
		})
		_, head := b.Head(t.Context(), "k", tc.version)
		_, _, get := b.Get(t.Context(), "k", tc.version)
		for _, err := range []error{head, get} {
			if !errors.Is(err, tc.want) || errors.Is(err, ErrNotFound) && errors.Is(err, ErrAccess) {
				t.Errorf("%s: %v, want %v", name, err, tc.want)
			}
		}
	}
}
