package archiver

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/archiverd/archiverd/genesys"
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
	day := "undated/"
	if t, ok := genesys.ParseTime(dateCreated); ok {
		t = t.UTC()
		day = fmt.Sprintf("year=%04d/month=%02d/day=%02d/", t.Year(), t.Month(), t.Day())
	}
	return k.prefix + "/" + kind + "/org=" + k.org + "/inbox=" + escapeID(k.inbox) + "/" + day
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

func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

// Object metadata names. Values are escaped like ids: S3 carries ASCII, 2 KB in all.
const (
	metaOrg          = "org"
	metaInbox        = "inbox"
	metaRecording    = "recording"
	metaDateModified = "date-modified"
	metaFormat       = "format"
	metaSHA256       = "sha256"
)

// metadata names the recording and the version of it that an object holds. With
// it a later pass recognises the object as its own.
func (k keyspace) metadata(id, dateModified string, f genesys.Format) map[string]string {
	return map[string]string{
		metaOrg:          k.org,
		metaInbox:        escapeID(k.inbox),
		metaRecording:    escapeID(id),
		metaDateModified: escapeDate(dateModified),
		metaFormat:       string(f),
	}
}

// escapeDate leaves the characters of RFC 3339 readable.
func escapeDate(s string) string {
	if len(s) <= 40 && strings.Trim(s, "0123456789-+:.TZtz") == "" {
		return s
	}
	return escapeID(s)
}
