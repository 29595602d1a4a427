package faults

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/archiverd/archiverd/genesys/genesystest"
)

// Store is a proxy in front of an S3 server. It names each request, applies the faults
// injected for it, and notes each violation of the rules that archiverd must follow:
//
//   - every write is create-only and carries a checksum;
//   - no key is written twice, and nothing is ever deleted;
//   - a manifest is written only once its media are there;
//   - with Locked, media, manifests and journal are written with a retention;
//   - no Genesys token comes here.
//
// The doctor's objects are exempt from the second rule: with them archiverd tests the
// store. Requests of other clients, such as a test's own, are not checked.
type Store struct {
	Locked bool

	next       http.Handler
	mu         sync.Mutex
	faults     []*StoreFault
	requests   map[string]int
	written    map[string]string // ids of uploads, "" for puts, by path
	violations []string
}

// StoreFault applies an Effect to requests of an operation.
type StoreFault struct {
	Op     string // as Operation names it, or its verb alone
	Times  int    // how many requests it is applied to; genesystest.Always
	Effect genesystest.Effect
}

// NewStore returns a Store in front of next.
func NewStore(next http.Handler) *Store {
	return &Store{next: next, requests: map[string]int{}, written: map[string]string{}}
}

// Inject adds a fault.
func (s *Store) Inject(f StoreFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// ClearFaults cancels all faults.
func (s *Store) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// Requests counts the requests of an operation or, for a verb alone, of all its operations.
func (s *Store) Requests(op string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for have, count := range s.requests {
		if named(have, op) {
			n += count
		}
	}
	return n
}

// named tells whether name is the operation's name or its verb.
func named(op, name string) bool { return op == name || strings.HasPrefix(op, name+" ") }

// Violations returns the violations so far.
func (s *Store) Violations() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.violations...)
}

func (s *Store) violate(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.violations = append(s.violations, fmt.Sprintf(format, args...))
}

// Operation names a request by what it does to which kind of object: "put media",
// "head manifests", "upload part". Buckets are in the path.
func Operation(r *http.Request) string {
	parts := strings.SplitN(strings.TrimPrefix(r.URL.Path, "/"), "/", 4) // bucket, prefix, kind, …
	q := r.URL.Query()
	switch {
	case len(parts) < 3 && q.Get("max-keys") == "1":
		return "check bucket"
	case len(parts) < 3 && q.Has("uploads"):
		return "list uploads"
	case len(parts) < 3:
		return "list objects"
	case q.Has("uploads"):
		return "create upload"
	case q.Has("partNumber"):
		return "upload part"
	case q.Has("uploadId") && r.Method == http.MethodPost:
		return "complete upload"
	case q.Has("uploadId"):
		return "abort upload"
	case q.Has("retention"):
		return "retain " + parts[2]
	}
	return strings.ToLower(r.Method) + " " + parts[2]
}

func (s *Store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.UserAgent(), "archiverd/") {
		s.next.ServeHTTP(w, r)
		return
	}
	op := Operation(r)
	body, err := io.ReadAll(r.Body) // one buffer at most; a server notices that its client has gone only after the body
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if op == "put manifests" {
		s.checkOrder(r.URL.Path, body)
	}
	s.check(op, r)
	if e := s.fault(op); e != nil {
		if e.Before != nil && e.Before(w, r) {
			return
		}
		if e.Wrap != nil {
			w = e.Wrap(w, r)
		}
	}
	n := &noticed{ResponseWriter: w, done: func() { s.wrote(op, r) }}
	s.next.ServeHTTP(n, r)
	if !n.begun {
		n.WriteHeader(http.StatusOK)
	}
}

func (s *Store) fault(op string) *genesystest.Effect {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests[op]++
	for _, f := range s.faults {
		if !named(op, f.Op) || f.Times == 0 {
			continue
		}
		if f.Times > 0 {
			f.Times--
		}
		return &f.Effect
	}
	return nil
}

// check checks a request against the rules for all requests.
func (s *Store) check(op string, r *http.Request) {
	h := r.Header
	put, complete := strings.HasPrefix(op, "put "), op == "complete upload"
	if strings.HasPrefix(h.Get("Authorization"), "Bearer") {
		s.violate("%s: a bearer token at the store", op)
	}
	if r.Method == http.MethodDelete && op != "abort upload" {
		s.violate("%s of %s: archives are not deleted from", op, r.URL.Path)
	}
	if (put || complete) && h.Get("If-None-Match") != "*" {
		s.violate("%s of %s without If-None-Match", op, r.URL.Path)
	}
	if (put || op == "upload part") && !checksummed(h) {
		s.violate("%s of %s without a checksum", op, r.URL.Path)
	}
	if locks := op == "put media" || op == "put manifests" || op == "put journal" || op == "create upload"; s.Locked && locks && h.Get("X-Amz-Object-Lock-Mode") == "" {
		s.violate("%s of %s without a retention", op, r.URL.Path)
	}
}

func checksummed(h http.Header) bool {
	return h.Get("X-Amz-Checksum-Sha256") != "" || h.Get("X-Amz-Checksum-Crc32") != "" || h.Get("Content-Md5") != ""
}

// checkOrder checks that the media of a manifest were written before it.
func (s *Store) checkOrder(path string, body []byte) {
	var m Manifest
	bucket, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if err := json.Unmarshal(body, &m); err != nil {
		s.violate("put manifests of %s: %v", path, err)
		return
	}
	s.mu.Lock()
	_, there := s.written["/"+bucket+"/"+m.Media.Key]
	s.mu.Unlock()
	if !there {
		s.violate("put manifests of %s before its media %s", path, m.Media.Key)
	}
}

// wrote records a write that had its effect. Completing the same upload again is not a
// second write: stores give the same reply again.
func (s *Store) wrote(op string, r *http.Request) {
	path, upload := r.URL.Path, r.URL.Query().Get("uploadId")
	if !strings.HasPrefix(op, "put ") && op != "complete upload" || op == "put doctor" {
		return
	}
	s.mu.Lock()
	before, again := s.written[path]
	s.written[path] = upload
	s.mu.Unlock()
	if again && (upload == "" || upload != before) {
		s.violate("%s: %s was written twice", op, path)
	}
}

// noticed calls done when a good reply begins, after the effect.
type noticed struct {
	http.ResponseWriter
	done  func()
	begun bool
}

func (n *noticed) Unwrap() http.ResponseWriter { return n.ResponseWriter }

func (n *noticed) WriteHeader(status int) {
	if !n.begun && status/100 == 2 {
		n.done()
	}
	n.begun = true
	n.ResponseWriter.WriteHeader(status)
}

func (n *noticed) Write(p []byte) (int, error) {
	if !n.begun {
		n.WriteHeader(http.StatusOK)
	}
	return n.ResponseWriter.Write(p)
}

// Checking gives a store what gofakes3 lacks: it compares checksums, heeds
// If-None-Match on CompleteMultipartUpload, and takes retentions.
func Checking(next http.Handler) http.Handler {
	var locks sync.Map // retentions put, by path
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		op := Operation(r)
		if strings.HasPrefix(op, "retain ") {
			var lock retention
			if err := xml.NewDecoder(r.Body).Decode(&lock); err != nil {
				s3Error(w, http.StatusBadRequest, "MalformedXML")
				return
			}
			locks.Store(r.URL.Path, lock)
			return
		}
		if lock, ok := locks.Load(r.URL.Path); ok && r.Method != http.MethodPut {
			w.Header().Set("X-Amz-Object-Lock-Mode", lock.(retention).Mode)
			w.Header().Set("X-Amz-Object-Lock-Retain-Until-Date", lock.(retention).RetainUntilDate)
		}
		if strings.HasPrefix(op, "put ") || op == "upload part" {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				panic(http.ErrAbortHandler)
			}
			if !agrees(r.Header, body) {
				s3Error(w, http.StatusBadRequest, "BadDigest")
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		if op == "complete upload" && taken(next, r.URL.Path) {
			s3Error(w, http.StatusPreconditionFailed, "PreconditionFailed")
			return
		}
		next.ServeHTTP(w, r)
	})
}

type retention struct{ Mode, RetainUntilDate string }

func agrees(h http.Header, body []byte) bool {
	if want := h.Get("X-Amz-Checksum-Sha256"); want != "" {
		sum := sha256.Sum256(body)
		return want == base64.StdEncoding.EncodeToString(sum[:])
	}
	if want := h.Get("X-Amz-Checksum-Crc32"); want != "" {
		n := crc32.ChecksumIEEE(body)
		return want == base64.StdEncoding.EncodeToString([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	}
	return true
}

func taken(next http.Handler, path string) bool {
	head, _ := http.NewRequest(http.MethodHead, "http://store"+path, nil)
	w := &answered{header: http.Header{}}
	next.ServeHTTP(w, head)
	return w.code == 0 || w.code == http.StatusOK
}

type answered struct {
	header http.Header
	code   int
}

func (s *answered) Header() http.Header         { return s.header }
func (s *answered) Write(p []byte) (int, error) { return len(p), nil }
func (s *answered) WriteHeader(code int)        { s.code = code }

func s3Error(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>%s</Message><RequestId>0</RequestId></Error>`, code, http.StatusText(status))
}
