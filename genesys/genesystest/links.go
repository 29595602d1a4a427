package genesystest

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/archiverd/archiverd/media/mediatest"
)

// Length is how a reply without a range marks the end of its body.
type Length int

// The lengths.
const (
	Declared       Length = iota // Content-Length
	Chunked                      // chunks, the total unknown
	CloseDelimited               // the end of the connection
)

// LinkMode says how the media host serves.
type LinkMode struct {
	Length      Length
	NoRanges    bool // a Range is ignored
	WeakETag    bool // as of a compressing proxy
	NoETag      bool
	ContentType string // instead of the true one
}

type link struct {
	inbox     *Inbox
	rec       *record
	spec      mediatest.Spec
	signature string
}

const pathLinks = "/downloads/"

// newLink signs a link to the media as they are now. The Cloud's mu is held.
func (x *call) newLink(r *record, format string) string {
	r.encodings[format]++
	path := pathLinks + strconv.Itoa(len(x.c.links))
	expires := strconv.FormatInt(x.o.Now().Add(x.o.LinkLife).UnixMilli(), 10)
	signature := x.c.sign(path, expires)
	x.c.links = append(x.c.links, link{x.inbox, r, r.spec(format, x.o.Reencode), signature})
	q := url.Values{"Expires": {expires}, "Signature": {signature}}
	signed := x.c.mediaURL + path + "?" + q.Encode()
	if x.o.RewriteLink != nil {
		signed = x.o.RewriteLink(signed)
	}
	return signed
}

func (c *Cloud) sign(path, expires string) string {
	h := hmac.New(sha256.New, c.linkKey)
	fmt.Fprintf(h, "%s\n%s", path, expires)
	return hex.EncodeToString(h.Sum(nil))
}

func (c *Cloud) serveMedia(w http.ResponseWriter, r *http.Request) {
	x := c.newCall(w, r)
	w.Header().Del("ININ-Correlation-Id") // the storage does not send it
	x.op = opLink
	l, ok := c.link(r.URL.Path)
	if ok {
		x.inbox, x.recording = l.inbox, l.rec.ID
	}
	if r.Header.Get("Authorization") != "" {
		c.violate("%s %s: an Authorization header at the media host", r.Method, r.URL.Path)
	}
	w, done := x.begin(w, "media "+r.URL.Path)
	defer done()
	x.underFault(w, func(w http.ResponseWriter) {
		switch code := x.refuseLink(l, ok); code {
		case "":
			x.serve(w, l)
		case "NoSuchKey":
			storageError(http.StatusNotFound, code, "The specified key does not exist.").send(w)
		case "MethodNotAllowed":
			storageError(http.StatusMethodNotAllowed, code, "The specified method is not allowed.").send(w)
		case "AccessDenied":
			storageError(http.StatusForbidden, code, "Request has expired").send(w)
		default:
			storageError(http.StatusForbidden, code, "The request signature we calculated does not match.").send(w)
		}
	})
}

func (c *Cloud) link(path string) (link, bool) {
	n, err := strconv.Atoi(strings.TrimPrefix(path, pathLinks))
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil || n < 0 || n >= len(c.links) {
		return link{}, false
	}
	return c.links[n], true
}

// refuseLink returns the storage's error code, or "" if the request is allowed.
func (x *call) refuseLink(l link, known bool) string {
	expires := x.query.Get("Expires")
	millis, err := strconv.ParseInt(expires, 10, 64)
	switch {
	case x.r.Method != http.MethodGet && x.r.Method != http.MethodHead:
		return "MethodNotAllowed"
	case err != nil || !hmac.Equal([]byte(x.query.Get("Signature")), []byte(x.c.sign(x.r.URL.Path, expires))):
		return "SignatureDoesNotMatch"
	case !x.o.Now().Before(time.UnixMilli(millis)):
		return "AccessDenied"
	case !known || x.gone(l.rec):
		return "NoSuchKey"
	}
	return ""
}

func (x *call) gone(r *record) bool {
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	return r.removed
}

func storageError(status int, code, message string) reply {
	body := `<?xml version="1.0" encoding="UTF-8"?>` + "\n<Error><Code>" + code + "</Code><Message>" + message + "</Message></Error>"
	return reply{status: status, header: http.Header{"Content-Type": {"application/xml"}}, body: []byte(body)}
}

// serve sends the media behind a link, or what Serve returns instead. The declared length
// is true in both cases, as of a cache that was filled too early.
func (x *call) serve(w http.ResponseWriter, l link) {
	var body []byte
	if x.o.Serve != nil {
		body = x.o.Serve(l.inbox.ID, l.rec.ID)
	}
	if body == nil {
		x.sendMedia(w, l.spec)
	} else {
		sum := sha256.Sum256(body)
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:])+`"`)
		http.ServeContent(w, x.r, "", time.Time{}, bytes.NewReader(body))
	}
	if x.o.OnDownload != nil {
		x.o.OnDownload(l.inbox, l.rec.ID)
	}
}

func (x *call) sendMedia(w http.ResponseWriter, s mediatest.Spec) {
	m, err := mediatest.New(s)
	if err != nil {
		x.c.violate("the simulation has no media for %q: %v", x.recording, err)
		storageError(http.StatusInternalServerError, "InternalError", "").send(w)
		return
	}
	mode, h := x.o.Links, w.Header()
	h.Set("Content-Type", m.ContentType())
	if mode.ContentType != "" {
		h.Set("Content-Type", mode.ContentType)
	}
	if mode.WeakETag {
		h.Set("ETag", "W/"+m.ETag())
	} else if !mode.NoETag {
		h.Set("ETag", m.ETag())
	}
	if !mode.NoRanges && (mode.Length == Declared || x.r.Header.Get("Range") != "") {
		http.ServeContent(w, x.r, "", time.Time{}, m.Reader())
		return
	}
	switch mode.Length {
	case Declared:
		h.Set("Content-Length", strconv.FormatInt(m.Size(), 10))
	case CloseDelimited:
		h.Set("Transfer-Encoding", "identity") // net/http then closes the connection at the end
	}
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush() // before the body is known to be short
	_, _ = io.Copy(w, m.Reader())
}
