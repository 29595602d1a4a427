package genesys

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
)

const (
	opLink       = "media_link"
	maxRedirects = 10
)

// Links fetches media from the signed links of a Download. It never sees a token, and sends no credentials, cookies or
// Referer: the signature of a link is the permission (seen). It is safe for concurrent use.
type Links struct{ o LinksOptions }

// LinksOptions says how to fetch. Transport decides which addresses a link may lead to and how long a connection may
// be idle. There is no limit on the time of a whole download.
type LinksOptions struct {
	Transport http.RoundTripper
	AllowHTTP bool // links and redirects may be http; set it only if the API itself is
	UserAgent string
	Observe   Observer // called for every exchange, redirects included; may be nil
}

// NewLinks returns Links. It sends nothing.
func NewLinks(o LinksOptions) *Links { return &Links{o: o} }

// Position says where a download continues. The zero value is the beginning. Otherwise Offset is the number of bytes already
// read, and Total and ETag are those of an earlier Media of the same link; all three are needed.
type Position struct {
	Offset, Total int64
	ETag          string
}

// Open requests the media from position at. It makes one HTTP exchange, besides redirects, and a second one with a Range if
// only the end of the connection would end the first body: a cut connection looks the same. The Media end with ctx; the
// caller closes them.
//
// All errors are *Error and show only the host of the link: 403 or 410 if the link has expired; ErrChanged if the rest of
// the same bytes is not available.
func (l *Links) Open(ctx context.Context, link string, at Position) (*Media, error) {
	u, err := url.Parse(link)
	if err != nil { // its text quotes the link
		return nil, &Error{Op: opLink, Err: permanent("the link is not a URL")}
	}
	a := ask{url: u}
	if at.Offset > 0 {
		if at.Total < at.Offset || strongETag(at.ETag) == "" {
			return nil, &Error{Op: opLink, Err: ErrChanged} // nothing would prove that the reply is the rest of the same bytes
		}
		a.ranged, a.ifRange = fmt.Sprintf("bytes=%d-", at.Offset), at.ETag
	}
	resp, err := l.get(ctx, a)
	if err != nil {
		return nil, err
	}
	if at.Offset == 0 && resp.StatusCode == http.StatusOK && closeDelimited(resp) {
		resp.Body.Close()
		a.ranged = "bytes=0-"
		if resp, err = l.get(ctx, a); err != nil {
			return nil, err
		}
	}
	m, err := newMedia(resp, a, at)
	if err != nil {
		resp.Body.Close() // does not read the rest of the body
		return nil, err
	}
	return m, nil
}

// ask is a request to a link.
type ask struct {
	url             *url.URL
	ranged, ifRange string // headers
}

// get follows redirects and returns the first other response. It does not use http.Client, which would add a Referer with
// the signed query and put URLs into errors.
func (l *Links) get(ctx context.Context, a ask) (*http.Response, error) {
	for range maxRedirects + 1 {
		if err := l.allowed(a.url); err != nil {
			return nil, &Error{Op: opLink, Message: hostOf(a.url), Err: err}
		}
		resp, err := l.roundTrip(ctx, a)
		if err != nil {
			return nil, &Error{Op: opLink, Message: hostOf(a.url), Err: bare(err, a.secrets()...)}
		}
		location := resp.Header.Get("Location")
		if !redirect(resp.StatusCode) || location == "" {
			return resp, nil
		}
		resp.Body.Close()
		next, err := a.url.Parse(location)
		if err != nil {
			return nil, linkError(resp, permanent("the redirect's Location is not a URL"))
		}
		a.url = next
	}
	return nil, &Error{Op: opLink, Message: hostOf(a.url), Err: permanent(fmt.Sprintf("more than %d redirects", maxRedirects))}
}

func redirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

func (l *Links) allowed(u *url.URL) error {
	switch {
	case u.Scheme != "https" && !(u.Scheme == "http" && l.o.AllowHTTP):
		return permanent("link refused: not https")
	case u.Hostname() == "":
		return permanent("link refused: no host")
	case u.User != nil:
		return permanent("link refused: it holds a user name")
	}
	return nil
}

func (l *Links) roundTrip(ctx context.Context, a ask) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "", nil)
	if err != nil {
		return nil, err
	}
	req.URL, req.Host = a.url, a.url.Host
	req.Header.Set("User-Agent", l.o.UserAgent)
	req.Header.Set("Accept-Encoding", "identity")
	if a.ranged != "" {
		req.Header.Set("Range", a.ranged)
	}
	if a.ifRange != "" {
		req.Header.Set("If-Range", a.ifRange)
	}
	resp, err := l.o.Transport.RoundTrip(req)
	l.o.Observe.tell(opLink, resp, 0)
	if err == nil {
		resp.Request = req
	}
	return resp, err
}

// secrets returns the parts of the link that must not be shown.
func (a ask) secrets() []string {
	s := []string{a.url.RawQuery}
	for _, p := range []string{a.url.EscapedPath(), a.url.Path} {
		if len(p) > 1 {
			s = append(s, p)
		}
	}
	return s
}

func hostOf(u *url.URL) string {
	if u.Hostname() == "" {
		return ""
	}
	return "host " + printable(u.Hostname(), 253)
}

// linkError returns the *Error for a response. It does not read the body, because object storage quotes the link there.
func linkError(resp *http.Response, err error) *Error {
	after, _ := retryAfter(resp.Header, resp.StatusCode)
	return &Error{
		Op:            opLink,
		Status:        resp.StatusCode,
		Message:       hostOf(resp.Request.URL),
		CorrelationID: correlationID(resp.Header),
		RetryAfter:    after,
		Err:           err,
	}
}
