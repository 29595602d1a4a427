// Package record describes the objects in the bucket: their keys, manifests, the chain of
// an inbox's journal, the inbox's owner, and the comparison of two locks. It reads an
// archive and never writes to it. The code that writes, audits and rebuilds an archive
// shares this description; docs/manifest.schema.json and docs/journal.schema.json publish it.
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

// maxPlainID is the longest id, in bytes after escaping, that a key holds unhashed. An S3
// key has at most 1,024 bytes, and ours hold two ids.
const maxPlainID = 200

// MaxPlaces is the largest number of keys tried for one object.
const MaxPlaces = 1000

// Keys builds the object keys of one inbox. Of the API's values only escaped ids and
// the date of creation enter a key.
type Keys struct {
	Prefix, Org, Inbox string
}

// Media returns the key of a recording's first media object. dateCreated is the
// API's text; if it is not readable, the key is under undated/.
func (k Keys) Media(id, dateCreated string, f genesys.Format) string {
	return k.dated("media", dateCreated) + EscapeID(id) + "." + f.Extension()
}

func (k Keys) dated(kind, dateCreated string) string {
	t, _ := genesys.ParseTime(dateCreated)
	return k.Prefix + "/" + kind + "/org=" + k.Org + "/inbox=" + EscapeID(k.Inbox) + "/" + partition(t)
}

// partition returns the part of a key that dateCreated determines. The zero day means
// that there is no date.
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

// Owner returns the key of the owner object of the inbox.
func (k Keys) Owner() string {
	return k.Prefix + "/owners/org=" + k.Org + "/inbox=" + EscapeID(k.Inbox) + ".json"
}

// CertificateKey returns the n-th key of the certificate of an act that disposed of
// recordings.
func CertificateKey(prefix, act string, n int) string {
	return numbered(prefix+"/certificates/"+EscapeID(act), n) + ".json"
}

// CertificatePage returns the key of the page that stands beside a certificate.
func CertificatePage(key string) string { return Stem(key) + ".html" }

// journal returns the prefix of the keys of an inbox's journal.
func (k Keys) journal() string {
	return k.Prefix + "/journal/org=" + k.Org + "/inbox=" + EscapeID(k.Inbox) + "/"
}

// JournalAt returns the key of the journal object of a pass that started at t.
func (k Keys) JournalAt(t time.Time) string { return k.journal() + t.Format(JournalTime) + ".json" }

// Nth returns the n-th key of a recording's media: the first key for 1, then
// {stem}~2.{ext}. The extension is that of format f, which may differ from the format
// for which the first key was made.
func Nth(first string, n int, f genesys.Format) string {
	return numbered(Stem(first), n) + "." + f.Extension()
}

// Beside returns the n-th key for an object: first itself for 1, then {stem}~2.{ext}.
func Beside(first string, n int) string {
	stem := Stem(first)
	return numbered(stem, n) + first[len(stem):]
}

// Manifest returns the n-th manifest key that belongs to a recording's first media key.
func (k Keys) Manifest(first string, n int) string {
	rest := strings.TrimPrefix(Stem(first), k.Prefix+"/media/")
	return numbered(k.Prefix+"/manifests/"+rest, n) + ".json"
}

// Stem returns a key without its extension. The extension begins at the last dot, because
// escaped ids hold no dot.
func Stem(key string) string {
	return key[:strings.LastIndexByte(key, '.')]
}

func numbered(stem string, n int) string {
	if n == 1 {
		return stem
	}
	return fmt.Sprintf("%s~%d", stem, n)
}

// Key is the content of a media object's or a manifest's key. Its ids are escaped: an id
// that EscapeID hashed cannot be recovered from a key, so recordings are matched by their
// escaped ids, and only manifests name them.
type Key struct {
	Kind      string // "media" or "manifests"
	Org       string
	Inbox     string
	Day       time.Time // of dateCreated, at midnight UTC; zero: undated
	Recording string
	Number    int // from 1, as in Nth
	Extension string
}

var keyForm = regexp.MustCompile(`^(media|manifests)/org=([a-z0-9-]+)/inbox=([\w%-]+)/` +
	`(?:undated|year=(\d{4})/month=(\d\d)/day=(\d\d))/([\w%-]+)(?:~(\d{1,4}))?\.(wav|webm|ogg|mp3|bin|json)$`)

// ParseKey reads a key. It returns false for every key that this package would not make.
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

// Path returns the key that k was read from.
func (k Key) Path(prefix string) string {
	return numbered(prefix+"/"+k.Kind+"/org="+k.Org+"/inbox="+k.Inbox+"/"+partition(k.Day)+k.Recording, k.Number) + "." + k.Extension
}

// EscapeID makes an id safe as a part of a key and as a metadata value: letters,
// digits, '-' and '_' stay, and every other byte becomes %XX. A result longer than
// maxPlainID is replaced by the SHA-256 of the id in hex. The result never holds '~',
// '.', '/' or '=', which give keys their structure.
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

// UnescapeID undoes EscapeID. For an id that was hashed it returns the hash. It returns
// false for a text that EscapeID never returns.
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
	MetaFingerprint  = "fingerprint" // genesys.Recording's; absent from objects of an earlier archiverd
	MetaFormat       = "format"
	MetaSHA256       = "sha256"
)

// Metadata returns the metadata that names an object's recording and version. By it a
// later pass recognises the object as archiverd's own.
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

// SameRecording reports whether the metadata of two objects name the same recording,
// whichever version of it the objects hold.
func SameRecording(have, want map[string]string) bool {
	for _, name := range []string{MetaOrg, MetaInbox, MetaRecording} {
		if have[name] != want[name] {
			return false
		}
	}
	return true
}

// escapeDate escapes a date, but keeps the characters of RFC 3339 readable.
func escapeDate(s string) string {
	if len(s) <= 40 && strings.Trim(s, "0123456789-+:.TZtz") == "" {
		return s
	}
	return EscapeID(s)
}
