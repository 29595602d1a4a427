package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// TestSecretsRedact prints a whole Config, and each of its secrets, in every way that Go offers.
func TestSecretsRedact(t *testing.T) {
	c, _ := loadFull(t)
	secret, key := c.Organizations[1].ClientSecret, c.State.SealKey
	hidden := struct{ s Secret }{secret} // fmt can't call methods of unexported fields
	var shown bytes.Buffer
	for _, value := range []any{secret, &secret, key, &key, c, *c, c.Organizations, c.State, hidden, []any{secret, key}, map[string]Secret{"k": secret}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%t", "%c", "%08.3f"} {
			fmt.Fprintf(&shown, verb+"\n", value)
		}
		slog.New(slog.NewTextHandler(&shown, nil)).Info("text", "value", value)
		slog.New(slog.NewJSONHandler(&shown, nil)).Info("json", "value", value)
		for _, marshal := range []func(any) ([]byte, error){json.Marshal, yaml.Marshal} {
			data, err := marshal(value)
			if err != nil {
				t.Fatal(err)
			}
			shown.Write(data)
		}
	}
	for _, value := range []fmt.Stringer{secret, key} {
		text, _ := value.(interface{ MarshalText() ([]byte, error) }).MarshalText()
		fmt.Fprintln(&shown, value.String(), value.(fmt.GoStringer).GoString(), string(text))
	}
	for _, leak := range []string{"a: [b", "613a205b62", "613A205B62", "0123456789abcdef", "MDEyMzQ1Njc4", "30313233", "[48 49 50", "- 48\n", "48, 49", "from systemd"} {
		if strings.Contains(shown.String(), leak) {
			t.Errorf("%q was shown", leak)
		}
	}
	if !strings.Contains(shown.String(), redacted) {
		t.Error("nothing was redacted")
	}
}

func TestSecretText(t *testing.T) {
	var zero Secret
	if got := fmt.Sprintf("%v%s%#v", zero, NewSecret(""), Key(nil)); got != "" || zero.Reveal() != "" {
		t.Errorf("empty secrets show %q", got)
	}
	for _, verb := range []string{"%v", "%#v", "%d", "%x"} {
		if got := fmt.Sprintf(verb+verb, NewSecret("x"), Key("x")); got != redacted+redacted {
			t.Errorf("%s shows %q", verb, got)
		}
	}
	if data, err := json.Marshal(NewSecret("x")); err != nil || string(data) != `"REDACTED"` {
		t.Errorf("JSON is %s, %v", data, err)
	}
}

// TestKeyIsBytes compiles only if a Key can be assigned to a []byte.
func TestKeyIsBytes(t *testing.T) {
	var plain []byte = Key(nil)
	if plain != nil {
		t.Error("no key is not nil")
	}
}
