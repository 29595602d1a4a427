package state

import (
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Token is an inbox's OAuth token. It shows itself to no one who doesn't read
// its fields: not to fmt, slog or encoding/json.
type Token struct {
	Access    string    `json:"access,omitempty"`
	Refresh   string    `json:"refresh,omitempty"`
	Expiry    time.Time `json:"expiry,omitzero"` // of Access
	Confirmed bool      `json:"confirmed,omitempty"`
}

// Same reports whether both are the same token, whatever is known beside it.
func (t Token) Same(other Token) bool { return t.Access == other.Access && t.Refresh == other.Refresh }

const redacted = "[token]"

// String is "[token]", as are the other forms of a Token.
func (Token) String() string { return redacted }

// GoString is String.
func (Token) GoString() string { return redacted }

// Format writes String for every verb.
func (Token) Format(s fmt.State, _ rune) { io.WriteString(s, redacted) }

// LogValue is String.
func (Token) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON is String in quotes: a Token that is part of something else
// doesn't leave the process by accident.
func (Token) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
