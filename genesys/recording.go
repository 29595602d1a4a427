package genesys

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"
)

// Recording is a user recording. All fields but Raw may be zero: what is absent or mistyped in the reply is zero here.
type Recording struct {
	ID, Name                            string
	DateCreated, DateModified           string // as given by the API; see ParseTime
	ContentLength, DurationMilliseconds *int64 // ContentLength is that of the stored original (guess), not of a transcode
	ConversationID                      string
	Raw                                 json.RawMessage // exactly the bytes of the reply
}

// ParseRecording reads a recording as the API gave it. It keeps raw as Recording.Raw. The error says that raw is no JSON object.
func ParseRecording(raw json.RawMessage) (Recording, error) {
	fields, err := object(raw)
	if err != nil {
		return Recording{}, err
	}
	r := Recording{
		ContentLength:        count(fields, "contentLength"),
		DurationMilliseconds: count(fields, "durationMilliseconds"),
		Raw:                  raw,
	}
	r.ID = identity(fields)
	r.Name, _ = field[string](fields, "name")
	r.DateCreated, _ = field[string](fields, "dateCreated")
	r.DateModified, _ = field[string](fields, "dateModified")
	conversation, _ := field[map[string]json.RawMessage](fields, "conversation")
	r.ConversationID = identity(conversation)
	return r, nil
}

// identity is the id of an entity, or "". An id with bytes that are no UTF-8 can't be asked for again: decoding
// replaces them.
func identity(fields map[string]json.RawMessage) string {
	id, _ := field[string](fields, "id")
	if strings.ContainsRune(id, utf8.RuneError) {
		return ""
	}
	return id
}

// count is a member that must be an integer of at least 0, or nil.
func count(fields map[string]json.RawMessage, name string) *int64 {
	n, ok := field[int64](fields, name)
	if !ok || n < 0 {
		return nil
	}
	return &n
}

// ParseTime reads a date of the API: RFC 3339, with or without a fraction, the offset also as "+0000".
func ParseTime(s string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05Z0700"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// Listing is one page of an inbox. PageSize, PageNumber and PageCount are the reply's, 0 where absent.
type Listing struct {
	Recordings                      []Recording // those with an id, in the reply's order, duplicates included
	Unreadable                      int         // entities without a usable id
	PageSize, PageNumber, PageCount int
	Total                           *int64
	NextURI                         string // a relative path (seen); "" on the last page
	CorrelationID                   string
}

// parseListing reads a page. A page without entities is an empty one; a page whose entities are no array is an error,
// because it would hide recordings.
func parseListing(body []byte) (*Listing, error) {
	fields, err := object(body)
	if err != nil {
		return nil, err
	}
	entities, ok := field[[]json.RawMessage](fields, "entities")
	if raw := fields["entities"]; !ok && raw != nil && string(raw) != "null" {
		return nil, errors.New("the reply's entities are no list")
	}
	l := &Listing{Total: count(fields, "total")}
	for _, raw := range entities {
		r, err := ParseRecording(raw)
		if err != nil || r.ID == "" {
			l.Unreadable++
			continue
		}
		l.Recordings = append(l.Recordings, r)
	}
	for name, n := range map[string]*int{"pageSize": &l.PageSize, "pageNumber": &l.PageNumber, "pageCount": &l.PageCount} {
		v, _ := field[int](fields, name)
		*n = max(v, 0)
	}
	l.NextURI, _ = field[string](fields, "nextUri")
	return l, nil
}

// Summary holds the counts of an inbox, nil where absent. They are a cross-check on a walk, no more.
type Summary struct{ ReadCount, UnreadCount, TotalCount *int64 }

// User is who a token stands for.
type User struct{ ID, Name, Email string }

func parseUser(r *reply) (*User, error) {
	fields, err := object(r.body)
	if err != nil {
		return nil, r.unusable(meCall.op, err)
	}
	u := &User{ID: identity(fields)}
	u.Name, _ = field[string](fields, "name")
	u.Email, _ = field[string](fields, "email")
	if u.ID == "" {
		return nil, r.unusable(meCall.op, errors.New("the reply names no user"))
	}
	return u, nil
}

// DownloadAPI names the operation that gives media links.
type DownloadAPI string

const (
	DownloadTranscoding DownloadAPI = "transcoding" // documented since 2024-08-14
	DownloadMedia       DownloadAPI = "media"       // gone from the published contract since 2025-09-22; older gateways and replicas have only this
)

// Format is a formatId: what the media are transcoded to.
type Format string

// The formats Genesys documents. NONE is explained nowhere; guess: the original, not transcoded.
const (
	FormatWAV       Format = "WAV"
	FormatWEBM      Format = "WEBM"
	FormatWAVULAW   Format = "WAV_ULAW"
	FormatOggVorbis Format = "OGG_VORBIS"
	FormatOggOpus   Format = "OGG_OPUS"
	FormatMP3       Format = "MP3"
	FormatNone      Format = "NONE"
)

// Extension returns the file name extension of f, without a dot; "bin" where f does not tell what the bytes are.
func (f Format) Extension() string {
	switch f {
	case FormatWAV, FormatWAVULAW:
		return "wav"
	case FormatWEBM:
		return "webm"
	case FormatOggVorbis, FormatOggOpus:
		return "ogg"
	case FormatMP3:
		return "mp3"
	}
	return "bin"
}

// Download says how far a transcode is and where its media are. The links are signed: who has one has the media, so
// printing and marshalling a Download leaves them out.
type Download struct {
	ID            string
	State         string      // "Running" or "Completed"
	Location      string      `json:"-"` // absolute, signed, on another host (seen); for Links.Open
	ResultURI     string      `json:"-"`
	ImageURI      string      `json:"-"`
	Thumbnails    []Thumbnail `json:"-"`
	CorrelationID string
	Status        int // 200; or 202: queued for transcoding
}

// Thumbnail is an image of a recording.
type Thumbnail struct {
	ImageURI, Resolution string
	Height, Width        int
}

// Ready reports whether Location can be opened.
func (d *Download) Ready() bool {
	return d.Status == 200 && !strings.EqualFold(d.State, "Running") && d.Location != ""
}

// Format prints d without its links, whatever the verb.
func (d Download) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "download %s: status %d, state %q", d.ID, d.Status, d.State)
}

// LogValue is d without its links.
func (d Download) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(d)) }

// Format prints t without its link, whatever the verb.
func (t Thumbnail) Format(s fmt.State, _ rune) { io.WriteString(s, "thumbnail "+t.Resolution) }

func parseDownload(body []byte) (*Download, error) {
	fields, err := object(body)
	if err != nil {
		return nil, err
	}
	d := &Download{}
	texts := map[string]*string{"id": &d.ID, "state": &d.State, "contentLocationUri": &d.Location, "resultUri": &d.ResultURI, "imageUri": &d.ImageURI}
	for name, s := range texts {
		*s, _ = field[string](fields, name)
	}
	thumbnails, _ := field[[]json.RawMessage](fields, "thumbnails")
	for _, raw := range thumbnails {
		f, _ := object(raw)
		var t Thumbnail
		t.ImageURI, _ = field[string](f, "imageUri")
		t.Resolution, _ = field[string](f, "resolution")
		t.Height, _ = field[int](f, "height")
		t.Width, _ = field[int](f, "width")
		d.Thumbnails = append(d.Thumbnails, t)
	}
	return d, nil
}
