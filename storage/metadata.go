package storage

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// maxMetadata is S3's limit on user metadata in bytes, names and values together.
// Names count here with their "x-amz-meta-", as some servers count them.
const maxMetadata = 2048

const metadataPrefix = "x-amz-meta-"

// encodeMetadata returns metadata escaped for headers: see [New].
func encodeMetadata(m map[string]string) (map[string]string, error) {
	out, size := make(map[string]string, len(m)), 0
	for name, value := range m {
		if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return nil, fmt.Errorf("metadata name %q: only a-z, 0-9 and '-' are safe in a header", name)
		}
		if value == "" {
			continue // some servers keep an empty value and some do not
		}
		out[name] = escape(value)
		size += len(metadataPrefix) + len(name) + len(out[name])
	}
	if size > maxMetadata {
		return nil, fmt.Errorf("metadata of %d bytes: S3 accepts at most %d", size, maxMetadata)
	}
	return out, nil
}

func decodeMetadata(m map[string]string) map[string]string {
	out := make(map[string]string, len(m))
	for name, value := range m {
		out[strings.ToLower(name)] = unescape(value)
	}
	return out
}

// escape percent-escapes the bytes that a header, a signature or a server might
// change: those that are not printable ASCII, '%', a space at either end or after
// another space, and "=?", which begins an RFC 2047 word that servers may decode.
func escape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		plain := c > ' ' && c < 0x7f && c != '%'
		switch {
		case c == ' ':
			plain = i > 0 && i < len(s)-1 && s[i-1] != ' '
		case c == '=':
			plain = i == len(s)-1 || s[i+1] != '?'
		}
		if plain {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// unescape undoes escape. A '%' that begins no escape stays: others may have
// written the object.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, err := hex.DecodeString(s[i+1 : i+3]); err == nil {
				b.WriteByte(c[0])
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
