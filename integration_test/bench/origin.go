package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// origin is as much of Genesys Cloud as a pass asks for, at as little cost as can
// be: what it spends, the contenders can't. Its access tokens are the users' ids.
// The simulation that tests run against checks everything it is asked and would be
// the bottleneck here.
type origin struct {
	server *http.Server
	url    string
	noise  []byte // what media are made of, over and over

	mu       sync.Mutex
	inboxes  map[string][]recording // by user id
	last     map[string]time.Time   // of the requests for a user's inbox
	requests map[string]*atomic.Int64
}

// recording is one recording of a benchmark.
type recording struct {
	id      string
	size    int64
	chunked bool // its media are sent without a length
	text    []byte
}

const noiseSize = 1 << 20

func newOrigin() (*origin, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	o := &origin{
		url: "http://" + l.Addr().String(), noise: make([]byte, noiseSize),
		inboxes: map[string][]recording{}, last: map[string]time.Time{}, requests: map[string]*atomic.Int64{},
	}
	for _, op := range []string{"token", "me", "list", "summary", "get", "download", "delete", "media", "manifest"} {
		o.requests[op] = &atomic.Int64{}
	}
	source := rand.New(rand.NewPCG(1, 2))
	for i := 0; i < len(o.noise); i += 8 {
		binary.LittleEndian.PutUint64(o.noise[i:], source.Uint64())
	}
	mux := http.NewServeMux()
	handle := func(pattern, op string, h http.HandlerFunc) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			o.requests[op].Add(1)
			o.note(user(r))
			h(w, r)
		})
	}
	const api = "/api/v2/userrecordings"
	handle("POST /oauth/token", "token", o.token)
	handle("GET /api/v2/users/me", "me", o.me)
	handle("GET "+api, "list", o.list)
	handle("GET "+api+"/summary", "summary", o.summary)
	handle("GET "+api+"/{id}", "get", o.get)
	handle("GET "+api+"/{id}/transcoding", "download", o.download)
	handle("DELETE "+api+"/{id}", "delete", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }) // goes on in the background for ever
	handle("GET /media/{user}/{n}", "media", o.media)
	handle("GET /manifest/{user}/{n}", "manifest", o.manifest)
	o.server = &http.Server{Handler: mux}
	go func() { _ = o.server.Serve(l) }() // ended by Close
	return o, nil
}

// fill puts recordings of the given sizes into one user's inbox.
func (o *origin) fill(user string, sizes []int64, chunked bool) {
	all := make([]recording, len(sizes))
	for i, size := range sizes {
		id, date := recordingID(user, i), recordingDate(i).Format(dateForm)
		text := fmt.Sprintf(`{"id":%q,"name":"Recording %d","dateCreated":%q,"dateModified":%q,"contentLength":%d,"durationMilliseconds":%d,"conversation":{"id":%q,"startTime":%q,"participants":[{"id":"p1","purpose":"user","userId":"3f1c0f7e-5f5c-4f9b-8f2e-000000000001"},{"id":"p2","purpose":"external","name":"Customer"}]},"isRead":false,"selfUri":"/api/v2/userrecordings/%s"}`,
			id, i, date, date, size, (size-wavHeaderSize)/16, conversationID(i), date, id)
		all[i] = recording{id: id, size: size, chunked: chunked, text: []byte(text)}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.inboxes[user] = all
}

const dateForm = "2006-01-02T15:04:05.000Z"

// What names a user's n-th recording.
func recordingID(user string, n int) string {
	return fmt.Sprintf("%s-%08d-4f1e-4a55-9d3c-5a1be2f0c7aa", user[len(user)-4:], n)
}
func recordingDate(n int) time.Time {
	return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(n) * time.Minute)
}
func conversationID(n int) string { return fmt.Sprintf("c0ffee00-%08d-4f1e-4a55-9d3c5a1be2f0", n) }

// empty forgets all inboxes and counts.
func (o *origin) empty() {
	o.mu.Lock()
	defer o.mu.Unlock()
	clear(o.inboxes)
	for _, n := range o.requests {
		n.Store(0)
	}
}

// count gives the requests so far by operation and sets them back.
func (o *origin) count() map[string]int64 {
	counts := map[string]int64{}
	for op, n := range o.requests {
		counts[op] = n.Swap(0)
	}
	return counts
}

// note notes a request for a user's inbox.
func (o *origin) note(user string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last[user] = time.Now()
}

// lastAsked is when the last request for a user's inbox came.
func (o *origin) lastAsked(user string) time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last[user]
}

// user is whose token a request came with, or whose media it asks for.
func user(r *http.Request) string {
	if id := r.PathValue("user"); id != "" {
		return id
	}
	return strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
}

func (o *origin) inbox(r *http.Request) []recording {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.inboxes[user(r)]
}

func (o *origin) me(w http.ResponseWriter, r *http.Request) {
	answer(w, map[string]string{"id": user(r), "name": "Benchmark", "email": "benchmark@example.org"})
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a client that has gone is not asked why
}

func (o *origin) token(w http.ResponseWriter, _ *http.Request) {
	answer(w, map[string]any{"access_token": "benchmark", "token_type": "bearer", "expires_in": 86400})
}

func (o *origin) list(w http.ResponseWriter, r *http.Request) {
	all := o.inbox(r)
	size, _ := strconv.Atoi(r.FormValue("pageSize"))
	size = min(max(size, 1), 100)
	page, _ := strconv.Atoi(r.FormValue("pageNumber"))
	page = max(page, 1)
	from := min((page-1)*size, len(all))
	to := min(from+size, len(all))
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"pageSize":%d,"pageNumber":%d,"pageCount":%d,"total":%d,`, size, page, (len(all)+size-1)/size, len(all))
	if to < len(all) {
		fmt.Fprintf(w, `"nextUri":"/api/v2/userrecordings?pageSize=%d&pageNumber=%d",`, size, page+1)
	}
	_, _ = io.WriteString(w, `"entities":[`)
	for i, rec := range all[from:to] {
		if i > 0 {
			_, _ = io.WriteString(w, ",")
		}
		_, _ = w.Write(rec.text)
	}
	_, _ = io.WriteString(w, "]}")
}

func (o *origin) summary(w http.ResponseWriter, r *http.Request) {
	n := len(o.inbox(r))
	answer(w, map[string]int{"readCount": 0, "unreadCount": n, "totalCount": n})
}

// find looks a recording up by the number in its id.
func (o *origin) find(r *http.Request) (n int, rec recording, ok bool) {
	all := o.inbox(r)
	id := r.PathValue("id")
	if len(id) < 13 {
		return 0, rec, false
	}
	n, err := strconv.Atoi(id[5:13])
	if err != nil || n >= len(all) || all[n].id != id {
		return 0, rec, false
	}
	return n, all[n], true
}

func (o *origin) get(w http.ResponseWriter, r *http.Request) {
	_, rec, ok := o.find(r)
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(rec.text)
}

func (o *origin) download(w http.ResponseWriter, r *http.Request) {
	n, rec, ok := o.find(r)
	if !ok {
		http.NotFound(w, r)
		return
	}
	answer(w, map[string]any{
		"id": rec.id, "state": "Completed",
		"contentLocationUri": fmt.Sprintf("%s/media/%s/%d?Signature=0123456789abcdef", o.url, user(r), n),
	})
}

// media sends a WAV of the recording's size.
func (o *origin) media(w http.ResponseWriter, r *http.Request) {
	all := o.inbox(r)
	n, err := strconv.Atoi(r.PathValue("n"))
	if err != nil || n >= len(all) {
		http.NotFound(w, r)
		return
	}
	rec := all[n]
	w.Header().Set("Content-Type", "audio/wav")
	w.Header().Set("ETag", fmt.Sprintf(`"%d-%d"`, n, rec.size))
	if !rec.chunked {
		w.Header().Set("Content-Length", strconv.FormatInt(rec.size, 10))
	}
	if rec.size == 0 {
		return
	}
	if _, err := w.Write(wavHeader(rec.size)); err != nil {
		return
	}
	// Each recording begins with bytes of its own, so that no two are alike.
	h := fnv.New64a()
	_, _ = io.WriteString(h, rec.id)
	own := h.Sum(nil)
	own = own[:min(int64(len(own)), rec.size-wavHeaderSize)]
	if _, err := w.Write(own); err != nil {
		return
	}
	at := int64(n*4099) % noiseSize
	for left := rec.size - wavHeaderSize - int64(len(own)); left > 0; {
		chunk := o.noise[at:min(noiseSize, at+left)]
		if _, err := w.Write(chunk); err != nil {
			return
		}
		left -= int64(len(chunk))
		at = 0
	}
}

const wavHeaderSize = 44

// wavHeader is that of PCM with 16 bits at 8 kHz, mono.
func wavHeader(size int64) []byte {
	data := uint32(min(size-wavHeaderSize, 0xFFFF_FFFF))
	riff := uint32(min(size-8, 0xFFFF_FFFF))
	h := []byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00data\x00\x00\x00\x00")
	binary.LittleEndian.PutUint32(h[4:], riff)
	binary.LittleEndian.PutUint32(h[40:], data)
	return h
}

// manifest is a file as large as archiverd's manifests are, for those that copy files.
func (o *origin) manifest(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(manifestSize))
	n, _ := strconv.Atoi(r.PathValue("n"))
	at := (n * 4099) % (noiseSize - manifestSize)
	_, _ = w.Write(o.noise[at : at+manifestSize])
}

const manifestSize = 1500
