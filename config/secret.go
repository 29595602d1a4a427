package config

import (
	"fmt"
	"io"
	"log/slog"
)

const redacted = "REDACTED"

// Secret is a text that only Reveal returns. Printing, logging and marshalling it give
// REDACTED, or nothing if it is empty. The zero value is empty.
type Secret struct {
	value *string // a pointer, so that fmt shows only an address if it can't call Format
}

// NewSecret wraps a text.
func NewSecret(text string) Secret { return Secret{&text} }

// Reveal returns the text itself.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

func (s Secret) String() string {
	if s.Reveal() == "" {
		return ""
	}
	return redacted
}

func (s Secret) GoString() string             { return fmt.Sprintf("config.Secret(%q)", s.String()) }
func (s Secret) LogValue() slog.Value         { return slog.StringValue(s.String()) }
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
func (s Secret) MarshalJSON() ([]byte, error) { return fmt.Appendf(nil, "%q", s.String()), nil }
func (s Secret) MarshalYAML() (any, error)    { return s.String(), nil }

// Format handles every verb, so that no verb prints the fields.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// Key is a binary secret, assignable to a []byte. It is redacted like a Secret.
type Key []byte

func (k Key) String() string {
	if len(k) == 0 {
		return ""
	}
	return redacted
}

func (k Key) GoString() string             { return fmt.Sprintf("config.Key(%q)", k.String()) }
func (k Key) LogValue() slog.Value         { return slog.StringValue(k.String()) }
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }
func (k Key) MarshalJSON() ([]byte, error) { return fmt.Appendf(nil, "%q", k.String()), nil }
func (k Key) MarshalYAML() (any, error)    { return k.String(), nil }

// Format handles every verb, so that no verb prints the bytes.
func (k Key) Format(f fmt.State, _ rune) { io.WriteString(f, k.String()) }
