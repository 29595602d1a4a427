package config

import (
	"strings"
	"testing"
)

// The hash changes with every value but the secrets.
func TestHash(t *testing.T) {
	text := `{organizations: [{name: acme, domain: mypurecloud.ie, client_id: c, client_secret: s1, format: WAV}],
storage: {region: eu-west-1, bucket: bucket-b, access_key_id: a, secret_access_key: s2}, schedule: {timezone: UTC}}`
	hash := func(old, new string) string {
		t.Helper()
		if !strings.Contains(text, old) {
			t.Fatalf("no %q in the configuration", old)
		}
		return mustLoad(t, strings.Replace(text, old, new, 1), nil).Hash()
	}
	first := hash("acme", "acme")
	if len(first) != 64 || hash("s1", "s3") != first || hash("s2", "s3") != first {
		t.Errorf("%q follows the secrets", first)
	}
	for old, new := range map[string]string{"WAV": "MP3", "bucket: bucket-b": "bucket: bucket-c", "UTC": "Europe/Dublin", "client_id: c": "client_id: d"} {
		if hash(old, new) == first {
			t.Errorf("%s instead of %s has the same hash", new, old)
		}
	}
}
