package genesys

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
)

const recordingsPath = "/api/v2/userrecordings"

// errNoID stops a call without an id, which would be another operation.
const errNoID = permanent("empty recording id")

// ListParams are the parameters of a page. Zero fields are not sent: Genesys documents 25 and 1 as the defaults, and
// caps page sizes silently (seen: 100 works).
type ListParams struct {
	PageSize, PageNumber int      // pages count from 1
	Expand               []string // only "conversation" is documented
}

// Recordings returns one page of the inbox (get_userrecordings). The order is not documented. Recordings move between pages
// while others are added or removed.
func (c *Client) Recordings(ctx context.Context, p ListParams) (*Listing, error) {
	q := url.Values{}
	if p.PageSize > 0 {
		q.Set("pageSize", strconv.Itoa(p.PageSize))
	}
	if p.PageNumber > 0 {
		q.Set("pageNumber", strconv.Itoa(p.PageNumber))
	}
	what := call{op: "get_userrecordings", method: http.MethodGet, path: recordingsPath, query: expanded(q, p.Expand), limit: listingLimit}
	r, err := c.do(ctx, what)
	if err != nil {
		return nil, err
	}
	l, err := parseListing(r.body)
	if err != nil {
		return nil, r.unusable(what.op, err)
	}
	l.CorrelationID = correlationID(r.header)
	return l, nil
}

// Summary returns the counts of the inbox (get_userrecordings_summary).
func (c *Client) Summary(ctx context.Context) (*Summary, error) {
	what := call{op: "get_userrecordings_summary", method: http.MethodGet, path: recordingsPath + "/summary", limit: replyLimit}
	r, err := c.do(ctx, what)
	if err != nil {
		return nil, err
	}
	fields, err := object(r.body)
	if err != nil {
		return nil, r.unusable(what.op, err)
	}
	return &Summary{
		ReadCount:   fields.count("readCount"),
		UnreadCount: fields.count("unreadCount"),
		TotalCount:  fields.count("totalCount"),
	}, nil
}

// Recording returns one recording (get_userrecording). A reply about another recording is an error; a reply without an id
// is returned as it came.
func (c *Client) Recording(ctx context.Context, id string, expand ...string) (*Recording, error) {
	what := call{op: "get_userrecording", method: http.MethodGet, query: expanded(nil, expand), limit: replyLimit}
	return c.one(ctx, what, id)
}

// UpdateRecording replaces a recording's metadata with body, a UserRecording in JSON, and returns the result
// (put_userrecording).
func (c *Client) UpdateRecording(ctx context.Context, id string, body json.RawMessage, expand ...string) (*Recording, error) {
	what := call{op: "put_userrecording", method: http.MethodPut, query: expanded(nil, expand), body: body, limit: replyLimit}
	return c.one(ctx, what, id)
}

func (c *Client) one(ctx context.Context, what call, id string) (*Recording, error) {
	r, err := c.doRecording(ctx, what, id, "")
	if err != nil {
		return nil, err
	}
	rec, err := ParseRecording(r.body)
	if err == nil && rec.ID != "" && rec.ID != id {
		err = errors.New("the reply is about another recording")
	}
	if err != nil {
		return nil, r.unusable(what.op, err)
	}
	return &rec, nil
}

// DeleteRecording requests a recording's deletion (delete_userrecording). It returns nil for any 2xx: Genesys answers 202
// and deletes in the background (documented). A 404 is an *Error like others.
func (c *Client) DeleteRecording(ctx context.Context, id string) error {
	_, err := c.doRecording(ctx, call{op: "delete_userrecording", method: http.MethodDelete}, id, "")
	return err
}

// Download requests a recording's media in format f and returns their links (get_userrecording_transcoding, or
// get_userrecording_media with async=true on platforms without transcoding). Repeat the call until the Download is Ready
// (guess: how to poll is documented nowhere). Its links are valid for minutes.
// If reserved is nil or was used, the request waits for the budget.
func (c *Client) Download(ctx context.Context, reserved *Reservation, api DownloadAPI, id string, f Format) (*Download, error) {
	what := call{op: "get_userrecording_transcoding", method: http.MethodGet, query: url.Values{"formatId": {string(f)}}, limit: replyLimit, reserved: reserved}
	path := "/transcoding"
	if api == DownloadMedia {
		what.op, path = "get_userrecording_media", "/media"
		what.query.Set("async", "true")
	}
	r, err := c.doRecording(ctx, what, id, path)
	if err != nil {
		return nil, err
	}
	d, err := parseDownload(r.body)
	if err != nil {
		return nil, r.unusable(what.op, err)
	}
	d.Status, d.CorrelationID = r.status, correlationID(r.header)
	return d, nil
}

// Me returns the user of the token (get_users_me). A token of client credentials has no user.
func (c *Client) Me(ctx context.Context, expand ...string) (*User, error) {
	what := meCall
	what.query = expanded(nil, expand)
	r, err := c.do(ctx, what)
	if err != nil {
		return nil, err
	}
	return parseUser(r)
}

var meCall = call{op: "get_users_me", method: http.MethodGet, path: "/api/v2/users/me", limit: replyLimit}

// doRecording sends a request for a recording, or for the path below it.
func (c *Client) doRecording(ctx context.Context, what call, id, below string) (*reply, error) {
	if id == "" {
		return nil, &Error{Op: what.op, Err: errNoID}
	}
	what.path = recordingsPath + "/" + segment(id) + below
	return c.do(ctx, what)
}

// segment escapes any id to one segment of a path. url.PathEscape does not escape "." and "..", which would change the path.
func segment(id string) string {
	switch id {
	case ".":
		return "%2E"
	case "..":
		return "%2E%2E"
	}
	return url.PathEscape(id)
}

func expanded(q url.Values, expand []string) url.Values {
	if q == nil {
		q = url.Values{}
	}
	for _, e := range expand {
		q.Add("expand", e)
	}
	return q
}
