package genesys

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// Recording is a user recording. A field that is absent or mistyped in the reply is zero; only Raw is always set.
type Recording struct {
	ID, Name                            string
	DateCreated, DateModified           string // as given by the API; see ParseTime
	ContentLength, DurationMilliseconds *int64 // ContentLength is that of the stored original (guess), not of a transcode
	ConversationID                      string
	// Fingerprint is a hash of the members that describe the media: two recordings with
	// the same id and fingerprint differ at most in dateModified and in the members
	// that immaterial names.
	Fingerprint string
	Raw         json.RawMessage // exactly the bytes of the reply
}

// ParseRecording reads a recording as the API gave it. It keeps raw as Recording.Raw. The error says that raw is not a JSON object.
func ParseRecording(raw json.RawMessage) (Recording, error) {
	fields, err := object(raw)
	if err != nil {
		return Recording{}, err
	}
	return recording(raw, fields), nil
}

func recording(raw json.RawMessage, fields members) Recording {
	return Recording{
		ID:                   fields.identity(),
		Name:                 fields.text("name"),
		DateCreated:          fields.text("dateCreated"),
		DateModified:         fields.text("dateModified"),
		ContentLength:        fields.count("contentLength"),
		DurationMilliseconds: fields.count("durationMilliseconds"),
		ConversationID:       objectIn(fields.raw("conversation")).identity(),
		Fingerprint:          fields.fingerprint(),
		Raw:                  raw,
	}
}

// Participant took part in a recording's conversation. A field that the reply lacks is "".
type Participant struct{ UserID, Name, Address string }

// maxParticipants bounds the participants that are read of one conversation.
const maxParticipants = 100

// Participants returns who took part in the conversation, without repetitions, at most 100.
// Only a recording that was asked for with expand=conversation names them. The published
// description of the API has no more of a conversation than its address; participants are
// members of the conversation in Genesys' own client libraries.
func (r Recording) Participants() []Participant {
	conversation := objectIn(objectIn(string(r.Raw)).raw("conversation"))
	var all []Participant
	add := func(p Participant) {
		if p != (Participant{}) && len(all) < maxParticipants && !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	if list := gjson.Parse(conversation.raw("participants")); list.IsArray() {
		list.ForEach(func(_, v gjson.Result) bool {
			p := objectIn(v.Raw)
			add(Participant{p.text("userId"), p.text("name"), p.text("address")})
			return len(all) < maxParticipants
		})
	}
	address := conversation.text("address")
	if !slices.ContainsFunc(all, func(p Participant) bool { return p.Address == address }) {
		add(Participant{Address: address})
	}
	return all
}

// ParseTime reads a date of the API: RFC 3339, with or without a fraction; the offset may also be "+0000".
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

// parseListing reads a page. A page without the member entities is empty. If entities is not an array, that is an error:
// recordings would be overlooked.
func parseListing(body []byte) (*Listing, error) {
	fields, err := object(body)
	if err != nil {
		return nil, err
	}
	entities := gjson.Parse(fields.raw("entities"))
	if !entities.IsArray() && entities.Type != gjson.Null {
		return nil, errors.New("the reply's entities are not a list")
	}
	l := &Listing{Total: fields.count("total"), NextURI: fields.text("nextUri")}
	for _, entity := range entities.Array() {
		r := recording(json.RawMessage(entity.Raw), objectIn(entity.Raw))
		if r.ID == "" {
			l.Unreadable++
			continue
		}
		l.Recordings = append(l.Recordings, r)
	}
	for name, n := range map[string]*int{"pageSize": &l.PageSize, "pageNumber": &l.PageNumber, "pageCount": &l.PageCount} {
		if v := fields.count(name); v != nil {
			*n = int(*v)
		}
	}
	return l, nil
}

// Summary holds the counts of an inbox, nil if absent. They are only a cross-check on a listing.
type Summary struct{ ReadCount, UnreadCount, TotalCount *int64 }

// User is the user of a token.
type User struct{ ID, Name, Email string }

func parseUser(r *reply) (*User, error) {
	fields, err := object(r.body)
	if err != nil {
		return nil, r.unusable(meCall.op, err)
	}
	u := &User{ID: fields.identity(), Name: fields.text("name"), Email: fields.text("email")}
	if u.ID == "" {
		return nil, r.unusable(meCall.op, errors.New("the reply names no user"))
	}
	return u, nil
}

// DownloadAPI names the operation that gives media links.
type DownloadAPI string

const (
	DownloadTranscoding DownloadAPI = "transcoding" // documented since 2024-08-14
	DownloadMedia       DownloadAPI = "media"       // not in the published contract since 2025-09-22; older gateways and replicas have only this one
)

// Format is a formatId: the format that Genesys transcodes media to.
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

// Extension returns the file name extension of f, without a dot; "bin" for a format of unknown bytes.
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

// Download is the progress of a transcode and the links to its media. The links are signed: anyone who has one can fetch the
// media, so printing and marshalling a Download leaves them out.
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

// LogValue returns d without its links.
func (d Download) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(d)) }

// Format prints t without its link, whatever the verb.
func (t Thumbnail) Format(s fmt.State, _ rune) { io.WriteString(s, "thumbnail "+t.Resolution) }

func parseDownload(body []byte) (*Download, error) {
	fields, err := object(body)
	if err != nil {
		return nil, err
	}
	d := &Download{
		ID: fields.text("id"), State: fields.text("state"),
		Location: fields.text("contentLocationUri"), ResultURI: fields.text("resultUri"), ImageURI: fields.text("imageUri"),
	}
	for _, thumbnail := range gjson.Parse(fields.raw("thumbnails")).Array() {
		f := objectIn(thumbnail.Raw)
		t := Thumbnail{ImageURI: f.text("imageUri"), Resolution: f.text("resolution")}
		if n := f.count("height"); n != nil {
			t.Height = int(*n)
		}
		if n := f.count("width"); n != nil {
			t.Width = int(*n)
		}
		d.Thumbnails = append(d.Thumbnails, t)
	}
	return d, nil
}
