package genesys

import "testing"

// A fingerprint changes with every member that may describe the media, known or unknown,
// and only with those.
func TestFingerprint(t *testing.T) {
	of := func(raw string) string {
		t.Helper()
		r, err := ParseRecording([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		return r.Fingerprint
	}
	const raw = `{"id":"r","durationMilliseconds":1000,"contentLength":9,"media":{"type":"audio","channels":[1,2]},"x":null}`
	for name, same := range map[string]string{
		"another order":   `{"contentLength":9,"media":{"type":"audio","channels":[1,2]},"durationMilliseconds":1000,"id":"r"}`,
		"white space":     `{ "id" : "r", "durationMilliseconds": 1000, "contentLength":9, "media": {"type": "audio", "channels": [1, 2]}}`,
		"read and named":  `{"id":"r","durationMilliseconds":1000,"contentLength":9,"media":{"type":"audio","channels":[1,2]},"read":true,"name":"n","selfUri":"/x","thumbnails":[{}],"workspace":{"id":"w"},"conversation":{"id":"c"},"createdBy":{"id":"u"},"contentUri":"u"}`,
		"another date":    `{"id":"r","durationMilliseconds":1000,"contentLength":9,"media":{"type":"audio","channels":[1,2]},"dateModified":"2026-01-01T00:00:00Z"}`,
		"null for absent": `{"id":"r","durationMilliseconds":1000,"contentLength":9,"media":{"type":"audio","channels":[1,2]},"version":null}`,
	} {
		if of(same) != of(raw) {
			t.Errorf("%s: another fingerprint", name)
		}
	}
	seen := map[string]string{of(raw): "the recording"}
	for name, other := range map[string]string{
		"duration":             `{"id":"r","durationMilliseconds":2000,"contentLength":9,"media":{"type":"audio","channels":[1,2]}}`,
		"length":               `{"id":"r","durationMilliseconds":1000,"contentLength":10,"media":{"type":"audio","channels":[1,2]}}`,
		"no length":            `{"id":"r","durationMilliseconds":1000,"media":{"type":"audio","channels":[1,2]}}`,
		"inside a member":      `{"id":"r","durationMilliseconds":1000,"contentLength":9,"media":{"type":"audio","channels":[1]}}`,
		"one nobody knows yet": `{"id":"r","durationMilliseconds":1000,"contentLength":9,"media":{"type":"audio","channels":[1,2]},"revision":2}`,
		"values changed round": `{"id":"r","durationMilliseconds":9,"contentLength":1000,"media":{"type":"audio","channels":[1,2]}}`,
	} {
		f := of(other)
		if before, ok := seen[f]; ok {
			t.Errorf("%s: the fingerprint of %s", name, before)
		}
		seen[f] = name
	}
}
