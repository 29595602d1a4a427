package archiver

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

// keyspace builds the object keys of one inbox. Nothing from the API enters a
// key but ids, escaped.
type keyspace struct {
	prefix, org, inbox string
}

// media returns the key of a recording's first media object. dateCreated is as
// the API gave it; without a readable one the object is filed under undated/.
func (k keyspace) media(id, dateCreated string, f genesys.Format) string {
	return k.dated("media", dateCreated) + escapeID(id) + "." + f.Extension()
}

func (k keyspace) dated(kind, dateCreated string) string {
	t, _ := genesys.ParseTime(dateCreated)
	return k.prefix + "/" + kind + "/org=" + k.org + "/inbox=" + escapeID(k.inbox) + "/" + partition(t)
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

// owner returns the key of the claim on the inbox.
func (k keyspace) owner() string {
	return k.prefix + "/owners/org=" + k.org + "/inbox=" + escapeID(k.inbox) + ".json"
}

// nth returns the n-th key beside the first: itself for 1, then {stem}~2.{ext}.
// The extension is that of the format asked for now, which may have changed
// since the first key was given out.
func nth(first string, n int, f genesys.Format) string {
	return numbered(stem(first), n) + "." + f.Extension()
}

// manifest returns the n-th manifest key that belongs to a recording's first media key.
func (k keyspace) manifest(first string, n int) string {
	rest := strings.TrimPrefix(stem(first), k.prefix+"/media/")
	return numbered(k.prefix+"/manifests/"+rest, n) + ".json"
}

// stem cuts the extension off. Escaped ids hold no dot, so the last one begins it.
func stem(key string) string {
	return key[:strings.LastIndexByte(key, '.')]
}

func numbered(stem string, n int) string {
	if n == 1 {
		return stem
	}
	return fmt.Sprintf("%s~%d", stem, n)
}

// An objectKey is what the key of a media object or of a manifest says. Ids are
// escaped: what escapeID hashed can't be had back from a key, so recordings are
// matched by their escaped ids, and named by manifests.
type objectKey struct {
	kind      string // "media" or "manifests"
	org       string
	inbox     string
	day       time.Time // of dateCreated, at midnight UTC; zero: undated
	recording string
	number    int // from 1, as in nth
	extension string
}

var keyForm = regexp.MustCompile(`^(media|manifests)/org=([a-z0-9-]+)/inbox=([\w%-]+)/` +
	`(?:undated|year=(\d{4})/month=(\d\d)/day=(\d\d))/([\w%-]+)(?:~(\d{1,4}))?\.(wav|webm|ogg|mp3|bin|json)$`)

// parseKey reads a key back. It is false for every key that this package would not
// have made.
func parseKey(prefix, key string) (objectKey, bool) {
	rest, ok := strings.CutPrefix(key, prefix+"/")
	m := keyForm.FindStringSubmatch(rest)
	if !ok || m == nil {
		return objectKey{}, false
	}
	k := objectKey{kind: m[1], org: m[2], inbox: m[3], recording: m[7], number: 1, extension: m[9]}
	if m[4] != "" {
		day, err := time.Parse(time.DateOnly, m[4]+"-"+m[5]+"-"+m[6])
		if err != nil {
			return objectKey{}, false
		}
		k.day = day
	}
	if m[8] != "" {
		k.number, _ = strconv.Atoi(m[8])
	}
	_, inbox := unescapeID(k.inbox)
	_, recording := unescapeID(k.recording)
	return k, inbox && recording && k.key(prefix) == key && (k.kind == "manifests") == (k.extension == "json")
}

// key is the key that k was read from.
func (k objectKey) key(prefix string) string {
	return numbered(prefix+"/"+k.kind+"/org="+k.org+"/inbox="+k.inbox+"/"+partition(k.day)+k.recording, k.number) + "." + k.extension
}

// escapeID makes an id safe as a part of a key and as a metadata value: letters,
// digits, '-' and '_' stay, every other byte becomes %XX, and what is longer than
// maxPlainID then becomes the SHA-256 of the id in hex. '~', '.', '/' and '=',
// which give keys their structure, never survive.
func escapeID(id string) string {
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

// unescapeID undoes escapeID, but for ids that were hashed: it gives their hash. It
// is false for what escapeID never returns.
func unescapeID(s string) (id string, ok bool) {
	id, err := url.PathUnescape(s)
	return id, err == nil && s != "" && escapeID(id) == s
}

func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

// Object metadata names. Values are escaped like ids: S3 carries ASCII, 2 KB in all.
const (
	metaOrg          = "org"
	metaInbox        = "inbox"
	metaRecording    = "recording"
	metaDateModified = "date-modified"
	metaFingerprint  = "fingerprint" // genesys.Recording's; absent from what an earlier archiverd wrote
	metaFormat       = "format"
	metaSHA256       = "sha256"
)

// metadata names the recording and the version of it that an object holds. With
// it a later pass recognises the object as its own.
func (k keyspace) metadata(id string, e state.Entry, f genesys.Format) map[string]string {
	m := map[string]string{
		metaOrg:          k.org,
		metaInbox:        escapeID(k.inbox),
		metaRecording:    escapeID(id),
		metaDateModified: escapeDate(e.DateModified),
		metaFormat:       string(f),
	}
	if e.Fingerprint != "" {
		m[metaFingerprint] = e.Fingerprint
	}
	return m
}

// escapeDate leaves the characters of RFC 3339 readable.
func escapeDate(s string) string {
	if len(s) <= 40 && strings.Trim(s, "0123456789-+:.TZtz") == "" {
		return s
	}
	return escapeID(s)
}
