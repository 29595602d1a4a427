package genesys

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Media are the bytes of one exchange, from the requested Position to the end.
//
// Read returns io.EOF only at a proved end: Content-Length bytes were read, the last chunk was, or the total of
// Content-Range is reached. It returns io.ErrUnexpectedEOF at any other end. Close does not wait for the rest.
type Media struct {
	io.ReadCloser
	Total       int64  // bytes of the whole media, not of the rest; -1 unknown (chunked)
	ETag        string // strong only; "" otherwise
	ContentType string // as the server says
}

var errUnranged = errors.New("the media's length is unknown: neither Content-Length nor chunks nor ranges")

// newMedia checks that resp answers the request a. Its errors are *Error.
func newMedia(resp *http.Response, a ask, at Position) (*Media, error) {
	resuming := at.Offset > 0
	switch code := resp.StatusCode; {
	case resuming && (code == http.StatusOK || code == http.StatusRequestedRangeNotSatisfiable):
		return nil, linkError(resp, ErrChanged)
	case code == http.StatusOK && a.ranged != "":
		return nil, linkError(resp, errUnranged)
	case code != http.StatusOK && !(code == http.StatusPartialContent && a.ranged != ""):
		return nil, linkError(resp, nil)
	}
	if e := strings.Join(resp.Header.Values("Content-Encoding"), ","); e != "" && !strings.EqualFold(e, "identity") {
		return nil, linkError(resp, permanent("the media are encoded: Content-Encoding "+printable(e, 50)))
	}
	m := &Media{Total: resp.ContentLength, ETag: strongETag(resp.Header.Get("ETag")), ContentType: resp.Header.Get("Content-Type")}
	left := m.Total
	if resp.StatusCode == http.StatusPartialContent {
		start, total, ok := contentRange(resp.Header.Get("Content-Range"))
		same := ok && start == at.Offset
		if resuming && !(same && total == at.Total && m.ETag == at.ETag) {
			return nil, linkError(resp, ErrChanged)
		}
		if !same {
			return nil, linkError(resp, errUnranged)
		}
		m.Total, left = total, total-start
	}
	m.ReadCloser = &mediaBody{body: resp.Body, left: left, open: closeDelimited(resp), secrets: a.secrets()}
	return m, nil
}

// contentRange reads "bytes 5-9/10"; ok is false unless first, last and total are all there and consistent.
func contentRange(s string) (start, total int64, ok bool) {
	unit, rest, _ := strings.Cut(s, " ")
	span, size, _ := strings.Cut(rest, "/")
	first, last, _ := strings.Cut(span, "-")
	var n [3]uint64
	for i, text := range []string{first, last, size} {
		v, err := strconv.ParseUint(text, 10, 63)
		if err != nil {
			return 0, 0, false
		}
		n[i] = v
	}
	return int64(n[0]), int64(n[2]), strings.EqualFold(unit, "bytes") && n[0] <= n[1] && n[1] < n[2]
}

// closeDelimited reports whether only the end of the connection ends the body: a body cut short looks the same.
func closeDelimited(resp *http.Response) bool {
	return resp.ContentLength < 0 && resp.ProtoMajor < 2 && !chunked(resp)
}

func chunked(resp *http.Response) bool {
	te := resp.TransferEncoding
	return len(te) > 0 && strings.EqualFold(te[len(te)-1], "chunked")
}

// strongETag returns tag, or "" if tag is not a strong ETag.
func strongETag(tag string) string {
	if len(tag) < 2 || tag[0] != '"' || strings.IndexByte(tag[1:], '"') != len(tag)-2 {
		return ""
	}
	return tag
}

// mediaBody is a body whose io.EOF proves that it is complete.
type mediaBody struct {
	body    io.ReadCloser
	left    int64    // bytes; -1: unknown, the chunked framing shows the end
	open    bool     // only the end of the connection ends the body: don't wait for it
	secrets []string // of the link
}

func (b *mediaBody) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if b.left == 0 {
		return 0, b.end()
	}
	if b.left > 0 && int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.body.Read(p)
	if b.left > 0 {
		b.left -= int64(n)
		if err == io.EOF && b.left > 0 {
			err = io.ErrUnexpectedEOF
		}
		if err == io.EOF {
			err = nil // the next Read returns it
		}
	}
	return n, shown(err, b.secrets)
}

// end checks that nothing follows the last byte. In a framed body, more bytes contradict the total.
func (b *mediaBody) end() error {
	if b.open {
		return io.EOF
	}
	n, err := b.body.Read(make([]byte, 1))
	if n > 0 {
		return errors.New("read media: more bytes than announced")
	}
	return shown(err, b.secrets)
}

// shown returns err without the link's secrets.
func shown(err error, secrets []string) error {
	if err == nil || err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	return fmt.Errorf("read media: %w", bare(err, secrets...))
}

func (b *mediaBody) Close() error { return b.body.Close() }
