package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/archiverd/archiverd/storage/storagetest"
)

// sink is an S3 store that takes uploads of any size and keeps what HEAD shows of
// them, and the bytes of small objects alone: for the giants, which no tmpfs holds.
type sink struct {
	server *http.Server
	url    string

	mu      sync.Mutex
	objects map[string]*sunk
	uploads map[string]*sunk // by id, which is the key
	methods map[string]int64 // requests since the last count
}

type sunk struct {
	header http.Header
	size   int64
	body   []byte // of a put
}

func newSink() (*sink, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &sink{url: "http://" + l.Addr().String(), objects: map[string]*sunk{}, uploads: map[string]*sunk{}, methods: map[string]int64{}}
	s.server = &http.Server{Handler: s}
	go func() { _ = s.server.Serve(l) }() // ended by Close
	return s, nil
}

// store is how archiverd reaches it.
func (s *sink) store() *storagetest.Server {
	return &storagetest.Server{Name: "sink", Endpoint: s.url, Region: "us-east-1", AccessKey: "access", SecretKey: "secret", PathStyle: true}
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.methods[r.Method]++
	s.mu.Unlock()
	key, q := r.URL.Path, r.URL.Query()
	switch {
	case r.Method == http.MethodPut:
		s.put(w, r, key, q.Has("uploadId"))
	case r.Method == http.MethodPost && q.Has("uploads"):
		s.mu.Lock()
		s.uploads[key] = &sunk{header: keep(r.Header)}
		s.mu.Unlock()
		fmt.Fprintf(w, "<InitiateMultipartUploadResult><UploadId>%s</UploadId></InitiateMultipartUploadResult>", strings.Trim(key, "/"))
	case r.Method == http.MethodPost:
		s.complete(w, r, key)
	case strings.Count(strings.Trim(key, "/"), "/") == 0: // the bucket, or a listing of it
		fmt.Fprint(w, "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")
	default:
		s.show(w, r, key)
	}
}

// count gives the requests by method since it was last asked.
func (s *sink) count() map[string]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	counted := s.methods
	s.methods = map[string]int64{}
	return counted
}

// empty forgets all objects.
func (s *sink) empty() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.objects)
}

// put swallows an object or a part.
func (s *sink) put(w http.ResponseWriter, r *http.Request, key string, part bool) {
	s.mu.Lock()
	object, upload := s.objects[key], s.uploads[key]
	s.mu.Unlock()
	if part {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil || upload == nil {
			refuse(w, http.StatusNotFound, "NoSuchUpload")
			return
		}
		s.mu.Lock()
		upload.size += n
		s.mu.Unlock()
		w.Header().Set("ETag", `"part"`)
		return
	}
	body, err := io.ReadAll(r.Body)
	sum := sha256.Sum256(body)
	switch want := r.Header.Get("X-Amz-Checksum-Sha256"); {
	case err != nil:
		return
	case object != nil && r.Header.Get("If-None-Match") == "*":
		refuse(w, http.StatusPreconditionFailed, "PreconditionFailed")
	case want != "" && want != base64.StdEncoding.EncodeToString(sum[:]):
		refuse(w, http.StatusBadRequest, "BadDigest")
	default:
		s.mu.Lock()
		s.objects[key] = &sunk{keep(r.Header), int64(len(body)), body}
		s.mu.Unlock()
		w.Header().Set("ETag", `"object"`)
	}
}

func (s *sink) complete(w http.ResponseWriter, r *http.Request, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.uploads[key]
	if u == nil {
		refuse(w, http.StatusNotFound, "NoSuchUpload")
		return
	}
	delete(s.uploads, key)
	maps.Copy(u.header, keep(r.Header))
	u.header.Set("X-Amz-Checksum-Type", "FULL_OBJECT")
	s.objects[key] = u
	fmt.Fprint(w, `<CompleteMultipartUploadResult><ETag>"object"</ETag></CompleteMultipartUploadResult>`)
}

func (s *sink) show(w http.ResponseWriter, r *http.Request, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.objects[key]
	if o == nil {
		refuse(w, http.StatusNotFound, "NoSuchKey")
		return
	}
	maps.Copy(w.Header(), o.header)
	w.Header().Set("ETag", `"object"`)
	w.Header().Set("Last-Modified", "Mon, 02 Jan 2026 15:04:05 GMT")
	w.Header().Set("Content-Length", strconv.FormatInt(o.size, 10))
	if r.Method == http.MethodGet {
		_, _ = bytes.NewReader(o.body).WriteTo(w)
	}
}

// keep is what of a write's headers HEAD shows.
func keep(h http.Header) http.Header {
	kept := http.Header{}
	for name, values := range h {
		if name == "Content-Type" || strings.HasPrefix(name, "X-Amz-Meta-") || strings.HasPrefix(name, "X-Amz-Checksum-") {
			kept[name] = values
		}
	}
	return kept
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, code)
}
