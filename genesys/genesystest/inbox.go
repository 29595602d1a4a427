package genesystest

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"time"

	"github.com/archiverd/archiverd/media/mediatest"
)

// Recording describes a recording to put into an inbox. All fields but ID have defaults.
type Recording struct {
	ID                        string // any string but ""
	Name                      string
	DateCreated, DateModified time.Time     // whole milliseconds; default: a day ago, each a millisecond later than the one before
	Duration                  time.Duration // default: that of Size, or 2 s
	Size                      int64         // about that of the media as WAV, where Duration is 0
	Read                      bool
	ConversationID            string // default: made from ID
	Participants              []any  // of the conversation, where it is expanded

	Extra   map[string]any  // further fields, or others instead of the usual ones
	Omit    []string        // fields left out
	Null    []string        // fields that are null
	RawJSON json.RawMessage // the entity byte for byte, whatever it is; replies with it are not validated

	MediaDuration time.Duration // of the media, if it shall differ from durationMilliseconds
	WAVDataSize   *uint32       // the size of its data that a WAV states, if it shall be wrong
	Empty         bool          // no media at all; contentLength and durationMilliseconds are 0
}

// Expected describes media as the Cloud serves them.
type Expected struct {
	Size        int64
	SHA256      [sha256.Size]byte
	ContentType string
}

type record struct {
	Recording
	added     int // place in the order of adding
	version   int // of the media
	original  int64
	polls     map[string]int // download requests answered since the media changed, by operation and format
	encodings map[string]int // links handed out, by format
	deleted   bool           // DELETE was received; the recording still shows
	showings  int            // listings in which it still shows once deleted; negative: until Settle
	removed   bool
	looked    int // the inbox's listings when a client last asked for this recording alone
}

// Inbox holds one user's recordings, or those of the client itself.
type Inbox struct {
	ID, Name, Email string

	cloud    *Cloud // whose mu guards the rest
	records  map[string]*record
	sorted   []*record // recordings that are not removed, in the order of listings; nil: has to be made again
	added    int
	listing  int    // listings under way
	listings int    // pages requested so far
	meID     string // what users/me says instead of ID
	used     []time.Time
}

// AddUser makes an inbox, or returns the existing one.
func (c *Cloud) AddUser(id, name, email string) *Inbox {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := c.inboxes[id]; i != nil {
		return i
	}
	i := &Inbox{ID: id, Name: name, Email: email, cloud: c, records: map[string]*record{}}
	c.inboxes[id] = i
	return i
}

// ClientInbox returns the inbox that client credentials reach.
func (c *Cloud) ClientInbox() *Inbox { return c.client }

// Add puts a recording into the inbox. It replaces a recording of the same id, and its media are new.
func (i *Inbox) Add(r Recording) {
	i.cloud.mu.Lock()
	defer i.cloud.mu.Unlock()
	i.added++
	i.setDefaults(&r)
	rec := &record{Recording: r, added: i.added}
	if old := i.records[r.ID]; old != nil {
		rec.version = old.version + 1
	}
	rec.mediaChanged()
	i.records[r.ID] = rec
	i.sorted = nil
}

func (i *Inbox) setDefaults(r *Recording) {
	if r.ID == "" {
		panic("genesystest: a recording needs an id")
	}
	day := i.cloud.opts.Now().Add(-24 * time.Hour).Truncate(time.Millisecond)
	setDefault(&r.Name, fmt.Sprintf("Recording %d", i.added))
	setDefault(&r.DateCreated, day.Add(time.Duration(i.added)*time.Millisecond))
	setDefault(&r.DateModified, r.DateCreated)
	setDefault(&r.Duration, time.Duration(r.Size/16)*time.Millisecond)
	setDefault(&r.Duration, 2*time.Second)
	setDefault(&r.MediaDuration, r.Duration)
	sum := sha256.Sum256([]byte(r.ID))
	setDefault(&r.ConversationID, uuid(sum[:]))
	if r.Empty {
		r.Duration = 0
	}
}

// Change gives a recording a new dateModified and new media.
func (i *Inbox) Change(id string) {
	i.edit(id, func(r *record) {
		r.version++
		r.mediaChanged()
		r.touch(i.cloud.opts.Now())
	})
}

// Edit changes only what the API says of a recording: dateModified changes only if edit
// changes it. The media follow MediaDuration.
func (i *Inbox) Edit(id string, edit func(*Recording)) {
	i.edit(id, func(r *record) {
		was := r.MediaDuration
		if edit(&r.Recording); r.MediaDuration != was {
			r.mediaChanged()
		}
	})
}

// Remove removes a recording as its user does: it is gone at once.
func (i *Inbox) Remove(id string) { i.edit(id, func(r *record) { r.removed = true }) }

// Restore brings a removed or deleted recording back as it was.
func (i *Inbox) Restore(id string) {
	i.edit(id, func(r *record) { r.removed, r.deleted = false, false })
}

func (i *Inbox) edit(id string, f func(*record)) {
	i.cloud.mu.Lock()
	defer i.cloud.mu.Unlock()
	f(i.known(id))
	i.sorted = nil
}

// known returns a recording that was once added. The Cloud's mu is held.
func (i *Inbox) known(id string) *record {
	r := i.records[id]
	if r == nil {
		panic(fmt.Sprintf("genesystest: inbox %s never had recording %q", i.ID, id))
	}
	return r
}

// Settle ends the background deletion of every deleted recording.
func (c *Cloud) Settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range c.inboxes {
		for _, r := range i.records {
			r.removed = r.removed || r.deleted
		}
		i.sorted = nil
	}
}

// IDs returns the ids of the recordings in the order of listings, including deleted ones that still show.
func (i *Inbox) IDs() []string {
	i.cloud.mu.Lock()
	defer i.cloud.mu.Unlock()
	var ids []string
	for _, r := range i.list() {
		ids = append(ids, r.ID)
	}
	return ids
}

// JSON returns the recording as the API serves it now, even if it is removed.
func (i *Inbox) JSON(id string, expand bool) json.RawMessage {
	i.cloud.mu.Lock()
	defer i.cloud.mu.Unlock()
	return i.entity(i.known(id), expand)
}

// Spec is what the media of a recording are made from, removed or not, as behind the newest link to them.
func (i *Inbox) Spec(id, format string) mediatest.Spec {
	i.cloud.mu.Lock()
	defer i.cloud.mu.Unlock()
	return i.known(id).spec(format, i.cloud.opts.Reencode)
}

// Media describes the exact bytes behind the newest link to a recording's media.
func (i *Inbox) Media(id, format string) (Expected, error) {
	s := i.Spec(id, format)
	m, err := mediatest.New(s)
	if err != nil {
		return Expected{}, err
	}
	size, sum, err := mediatest.SHA256(s)
	return Expected{size, sum, m.ContentType()}, err
}

// AnswerMe makes users/me name another user, as if the token were that user's.
func (i *Inbox) AnswerMe(userID string) {
	i.cloud.mu.Lock()
	defer i.cloud.mu.Unlock()
	i.meID = userID
}

// list returns the recordings in the order of listings. The Cloud's mu is held.
func (i *Inbox) list() []*record {
	if i.sorted != nil {
		return i.sorted
	}
	i.sorted = []*record{}
	for _, r := range i.records {
		if !r.removed {
			i.sorted = append(i.sorted, r)
		}
	}
	order := i.cloud.opts.Order
	slices.SortFunc(i.sorted, func(a, b *record) int {
		switch order {
		case OldestFirst:
			a, b = b, a
		case Shuffled:
			x, y := sha256.Sum256([]byte(a.ID)), sha256.Sum256([]byte(b.ID))
			return slices.Compare(x[:], y[:])
		}
		return cmp.Or(b.DateCreated.Compare(a.DateCreated), b.added-a.added)
	})
	return i.sorted
}

func (r *record) mediaChanged() {
	r.polls, r.encodings = map[string]int{}, map[string]int{}
	if m, err := mediatest.New(r.spec(mediatest.None, false)); err == nil {
		r.original = m.Size()
	}
}

func (r *record) touch(now time.Time) {
	next := r.DateModified.Add(time.Millisecond)
	if now = now.Truncate(time.Millisecond); now.After(next) {
		next = now
	}
	r.DateModified = next
}

func (r *record) spec(format string, reencode bool) mediatest.Spec {
	s := mediatest.Spec{ID: r.ID, Version: r.version, Format: format, Duration: r.MediaDuration, Empty: r.Empty, WAVDataSize: r.WAVDataSize}
	if reencode {
		s.Encoding = r.encodings[format]
	}
	return s
}

// entity returns the UserRecording of r. The Cloud's mu is held.
func (i *Inbox) entity(r *record, expand bool) json.RawMessage {
	if r.RawJSON != nil {
		return r.RawJSON
	}
	conversation := reference("/api/v2/conversations/", r.ConversationID, "")
	if expand {
		conversation["name"] = "Conversation of " + r.Name
		conversation["startTime"] = timestamp(r.DateCreated)
		conversation["endTime"] = timestamp(r.DateCreated.Add(r.Duration))
		conversation["state"] = "disconnected"
		if r.Participants != nil {
			conversation["participants"] = r.Participants
		}
	}
	m := reference(pathRecordings+"/", r.ID, r.Name)
	m["dateCreated"] = timestamp(r.DateCreated)
	m["dateModified"] = timestamp(r.DateModified)
	m["contentLength"] = r.original
	m["durationMilliseconds"] = r.Duration.Milliseconds()
	m["conversation"] = conversation
	m["createdBy"] = reference("/api/v2/users/", i.ID, i.Name)
	m["workspace"] = reference("/api/v2/contentmanagement/workspaces/", "ws-"+i.ID, "")
	m["thumbnails"] = []any{}
	m["read"] = r.Read
	maps.Copy(m, r.Extra)
	for _, f := range r.Null {
		m[f] = nil
	}
	for _, f := range r.Omit {
		delete(m, f)
	}
	return mustJSON(m)
}

func reference(path, id, name string) map[string]any {
	m := map[string]any{"id": id, "selfUri": path + url.PathEscape(id)}
	if name != "" {
		m["name"] = name
	}
	return m
}

func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// uuid formats the first 16 bytes of b as Genesys formats ids.
func uuid(b []byte) string {
	h := hex.EncodeToString(b[:16])
	return fmt.Sprintf("%s-%s-%s-%s-%s", h[:8], h[8:12], h[12:16], h[16:20], h[20:])
}
