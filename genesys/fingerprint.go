package genesys

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
)

// immaterial reports whether a recording's member does not describe its media: members
// that its user changes, links, pictures and owners. Every other member counts, also one
// that Genesys adds later. dateModified is compared on its own, as a time.
func immaterial(name string) bool {
	switch name {
	case "dateModified", "read", "name", "thumbnails", "selfUri", "contentUri", "conversation", "workspace", "createdBy":
		return true
	}
	return false
}

// fingerprint hashes the members that describe the media, whatever their order.
// A member that is null counts as absent, and white space does not count: a
// manifest holds a recording without white space.
func (m members) fingerprint() string {
	material := make(members, 0, len(m))
	for _, f := range m {
		if !immaterial(f.name) && f.raw != "null" {
			material = append(material, f)
		}
	}
	slices.SortStableFunc(material, func(a, b member) int { return strings.Compare(a.name, b.name) })
	var text bytes.Buffer
	for _, f := range material {
		text.WriteString(f.name)
		text.WriteByte(0)
		if strings.HasPrefix(f.raw, "{") || strings.HasPrefix(f.raw, "[") {
			_ = json.Compact(&text, []byte(f.raw)) // can't fail: raw is part of valid JSON
		} else {
			text.WriteString(f.raw)
		}
		text.WriteByte(0)
	}
	sum := sha256.Sum256(text.Bytes())
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}
