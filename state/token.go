package state

import (
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Token is an inbox's OAuth token. Only its fields show it: fmt, slog and encoding/json
// print it redacted.
type Token struct {
	Access    string    `json:"access,omitempty"`
	Refresh   string    `json:"refresh,omitempty"`
	Expiry    time.Time `json:"expiry,omitzero"` // of Access
	Confirmed bool      `json:"confirmed,omitempty"`
}

// Same reports whether both are the same token, regardless of Expiry and Confirmed.
func (t Token) Same(other Token) bool { return t.Access == other.Access && t.Refresh == other.Refresh }

// MayRenew returns why the inbox, which holds the token have, must not get one that was
// renewed from another: ErrLoggedOut or ErrTokenMoved.
func (i *Inbox) MayRenew(have, from Token) error {
	switch {
	case i.LoggedOut:
		return ErrLoggedOut
	case !have.Same(from):
		return ErrTokenMoved
	}
	return nil
}

// LoggedIn returns the edit of an inbox whose user logs in: edit, which may be nil, and the
// end of a logout.
func LoggedIn(edit func(*Inbox)) func(*Inbox) {
	return func(i *Inbox) {
		if edit != nil {
			edit(i)
		}
		i.LoggedOut = false
	}
}

const redacted = "[token]"

// String returns "[token]", as do the other methods that print a Token.
func (Token) String() string { return redacted }

// GoString returns String.
func (Token) GoString() string { return redacted }

// Format writes String for every verb.
func (Token) Format(s fmt.State, _ rune) { io.WriteString(s, redacted) }

// LogValue returns String.
func (Token) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON returns String in quotes, so that a Token inside another value does not
// leave the process by accident.
func (Token) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
