package main

import (
	"strings"
	"testing"
)

func TestParseCredentials(t *testing.T) {
	const good = "# comment\r\n[default]\r\naws_access_key_id = AKIA\r\naws_secret_access_key=se/cr=et\r\n; another\n[temporary]\naws_access_key_id=A2\nAWS_SECRET_ACCESS_KEY = s2\naws_session_token = t2\n"
	for section, want := range map[string][3]string{"default": {"AKIA", "se/cr=et", ""}, "temporary": {"A2", "s2", "t2"}} {
		k, err := parseCredentials(good, section)
		if got := [3]string{k["aws_access_key_id"], k["aws_secret_access_key"], k["aws_session_token"]}; err != nil || got != want {
			t.Errorf("%s: %q, %v", section, got, err)
		}
	}
	for name, text := range map[string]string{
		"no such section": "[other]\naws_access_key_id = A\naws_secret_access_key = the-secret\n",
		"half":            "[default]\naws_secret_access_key = the-secret\n",
		"no section":      "aws_access_key_id = A\naws_secret_access_key = the-secret\n",
		"not the form":    "[default]\nthe-secret\n",
		"empty":           "",
	} {
		if _, err := parseCredentials(text, "default"); err == nil || strings.Contains(err.Error(), "the-secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
