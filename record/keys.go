// Package record is the form of what stands in the bucket: the keys of objects, manifests,
// the chain of an inbox's journal, the owner's claim, and how two locks compare. It reads
// an archive and never writes to one, so that whoever writes, audits or rebuilds shares
// one description. docs/manifest.schema.json and docs/journal.schema.json publish it.
package record

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/state"
)

// maxPlainID is the longest id, in bytes after escaping, that enters a key as it is.
// S3 keys end at 1,024 bytes and a key holds two ids.
const maxPlainID = 200

// MaxPlaces bounds the keys tried beside the first.
const MaxPlaces = 1000

// Keys builds the object keys of one inbox. Nothing from the API enters a
// key but ids, escaped.
type Keys struct {
	Prefix, Org, Inbox string
}

// Media returns the key of a recording's first media object. dateCreated is as
// the API gave it; without a readable one the object is filed under undated/.
func (k Keys) Media(id, dateCreated string, f genesys.Format) string {
	return k.dated("media", dateCreated) + EscapeID(id) + "." + f.Extension()
}

func (k Keys) dated(kind, dateCreated string) string {
	t, _ := genesys.ParseTime(dateCreated)
	return k.Prefix + "/" + kind + "/org=" + k.Org + "/inbox=" + EscapeID(k.Inbox) + "/" + partition(t)
}

// partition is the part of a key that is made of dateCreated. The first day there
// is stands for no date.
func partition(created time.Time) string {
	day := created.UTC().Truncate(24 * time.Hour)
	if day.IsZero() {
		return "undated/"
	}
	return fmt.Sprintf("year=%04d/month=%02d/day=%02d/", day.Year(), day.Month(), day.Day())
}

// MediaPrefix returns what the keys of all media of the inbox begin with.
func (k Keys) MediaPrefix() string {
	return k.Prefix + "/media/org=" + k.Org + "/inbox=" + EscapeID(k.Inbox) + "/"
}

// Owner returns the key of the claim on the inbox.
func (k Keys) Owner() string {
	return k.Prefix + "/owners/org=" + k.Org + "/inbox=" + EscapeID(k.Inbox) + ".json"
}

// journal returns what the keys of an inbox's journal begin with.
func (k Keys) journal() string {
	return k.Prefix + "/journal/org=" + k.Org + "/inbox=" + EscapeID(k.Inbox) + "/"
}

// JournalAt returns the key of the journal object of a pass that started then.
func (k Keys) JournalAt(t time.Time) string { return k.journal() + t.Format(JournalTime) + ".json" }

// Nth returns the n-th key beside the first: itself for 1, then {stem}~2.{ext}.
// The extension is that of the format asked for now, which may have changed
// since the first key was given out.
func Nth(first string, n int, f genesys.Format) string {
	return numbered(Stem(first), n) + "." + f.Extension()
}

// Manifest returns the n-th manifest key that belongs to a recording's first media key.
func (k Keys) Manifest(first string, n int) string {
	rest := strings.TrimPrefix(Stem(first), k.Prefix+"/media/")
	return numbered(k.Prefix+"/manifests/"+rest, n) + ".json"
}

// Stem cuts the extension off. Escaped ids hold no dot, so the last one begins it.
func Stem(key string) string {
	return key[:strings.LastIndexByte(key, '.')]
}

func numbered(stem string, n int) string {
	if n == 1 {
		return stem
	}
	return fmt.Sprintf("%s~%d", stem, n)
}

// Key objectKey is what the key of a media object or of a manifest says. Ids are
// escaped: what escapeID hashed can't be had back from a key, so recordings are
// matched by their escaped ids, and named by manifests.
type Key struct {
	Kind      string // "media" or "manifests"
	Org       string
	Inbox     string
	Day       time.Time // of dateCreated, at midnight UTC; zero: undated
	Recording string
	Number    int // from 1, as in nth
	Extension string
}

var keyForm = regexp.MustCompile(`^(media|manifests)/org=([a-z0-9-]+)/inbox=([\w%-]+)/` +
	`(?:undated|year=(\d{4})/month=(\d\d)/day=(\d\d))/([\w%-]+)(?:~(\d{1,4}))?\.(wav|webm|ogg|mp3|bin|json)$`)

// ParseKey reads a key back. It is false for every key that this package would not
// have made.
func ParseKey(prefix, key string) (Key, bool) {
	rest, ok := strings.CutPrefix(key, prefix+"/")
	m := keyForm.FindStringSubmatch(rest)
	if !ok || m == nil {
		return Key{}, false
	}
	k := Key{Kind: m[1], Org: m[2], Inbox: m[3], Recording: m[7], Number: 1, Extension: m[9]}
	if m[4] != "" {
		day, err := time.Parse(time.DateOnly, m[4]+"-"+m[5]+"-"+m[6])
		if err != nil {
			return Key{}, false
		}
		k.Day = day
	}
	if m[8] != "" {
		k.Number, _ = strconv.Atoi(m[8])
	}
	_, inbox := UnescapeID(k.Inbox)
	_, recording := UnescapeID(k.Recording)
	return k, inbox && recording && k.Path(prefix) == key && (k.Kind == "manifests") == (k.Extension == "json")
}

// key is the key that k was read from.
func (k Key) Path(prefix string) string {
	return numbered(prefix+"/"+k.Kind+"/org="+k.Org+"/inbox="+k.Inbox+"/"+partition(k.Day)+k.Recording, k.Number) + "." + k.Extension
}

// EscapeID makes an id safe as a part of a key and as a metadata value: letters,
// digits, '-' and '_' stay, every other byte becomes %XX, and what is longer than
// maxPlainID then becomes the SHA-256 of the id in hex. '~', '.', '/' and '=',
// which give keys their structure, never survive.
func EscapeID(id string) string {
	var b strings.Builder
	for i := range len(id) {
		if c := id[i]; plain(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
		if b.Len() > maxPlainID {
			sum := sha256.Sum256([]byte(id))
			return hex.EncodeToString(sum[:])
		}
	}
	return b.String()
}

// UnescapeID undoes escapeID, but for ids that were hashed: it gives their hash. It
// is false for what escapeID never returns.
func UnescapeID(s string) (id string, ok bool) {
	id, err := url.PathUnescape(s)
	return id, err == nil && s != "" && EscapeID(id) == s
}

func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

// Object metadata names. Values are escaped like ids: S3 carries ASCII, 2 KB in all.
const (
	MetaOrg          = "org"
	MetaInbox        = "inbox"
	MetaRecording    = "recording"
	MetaDateModified = "date-modified"
	MetaFingerprint  = "fingerprint" // genesys.Recording's; absent from what an earlier archiverd wrote
	MetaFormat       = "format"
	MetaSHA256       = "sha256"
)

// Metadata names the recording and the version of it that an object holds. With
// it a later pass recognises the object as its own.
func (k Keys) Metadata(id string, e state.Entry, f genesys.Format) map[string]string {
	m := map[string]string{
		MetaOrg:          k.Org,
		MetaInbox:        EscapeID(k.Inbox),
		MetaRecording:    EscapeID(id),
		MetaDateModified: escapeDate(e.DateModified),
		MetaFormat:       string(f),
	}
	if e.Fingerprint != "" {
		m[MetaFingerprint] = e.Fingerprint
	}
	return m
}

// escapeDate leaves the characters of RFC 3339 readable.
func escapeDate(s string) string {
	if len(s) <= 40 && strings.Trim(s, "0123456789-+:.TZtz") == "" {
		return s
	}
	return EscapeID(s)
}
