package state

import (
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"io"
	"log/slog"
	"time"

	"go.etcd.io/bbolt"
)

// Token is an inbox's OAuth token. It shows itself to no one who doesn't read
// its fields: not to fmt, slog or encoding/json.
type Token struct {
	Access    string    `json:"access,omitempty"`
	Refresh   string    `json:"refresh,omitempty"`
	Expiry    time.Time `json:"expiry,omitzero"` // of Access
	Confirmed bool      `json:"confirmed,omitempty"`
}

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

// plainToken is Token without its methods: the form that is stored.
type plainToken Token

// Token reads the token of an inbox; the zero Token where there is none.
func (l *Ledger) Token(org, inbox string) (Token, error) {
	key, err := inboxKey(org, inbox)
	if err != nil {
		return Token{}, fmt.Errorf("read token: %w", err)
	}
	var t Token
	err = l.view(func(tx *bbolt.Tx) error {
		data := tx.Bucket([]byte("tokens")).Get([]byte(key))
		if data == nil {
			return nil
		}
		t, err = l.seal.decodeToken(key, data)
		return err
	})
	if err != nil {
		return Token{}, fmt.Errorf("read token of %s: %w", key, err)
	}
	return t, nil
}

// SetToken keeps the token of an inbox in place of the one before; the zero
// Token forgets it.
func (l *Ledger) SetToken(org, inbox string, t Token) error {
	err := l.changeInbox(l.update, org, inbox, func(p *page) error {
		b := p.tx.Bucket([]byte("tokens"))
		if t == (Token{}) {
			return b.Delete([]byte(p.key))
		}
		data, err := marshal(plainToken(t))
		if err != nil {
			return err
		}
		return b.Put([]byte(p.key), l.seal.seal(tokenContext(p.key), data))
	})
	if err != nil {
		return fmt.Errorf("set token of %s/%s: %w", org, inbox, err)
	}
	return nil
}

// sealer seals values of the file. A nil *sealer leaves them in the clear.
type sealer struct{ aead cipher.AEAD }

func newSealer(key []byte) (*sealer, error) {
	if key == nil {
		return nil, nil
	}
	if len(key) != 32 {
		return nil, fmt.Errorf("the seal key has %d bytes; want 32", len(key))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &sealer{aead}, nil
}

// seal binds data to its place in the file: it opens nowhere else.
func (s *sealer) seal(place string, data []byte) []byte {
	if s == nil {
		return data
	}
	return s.aead.Seal(nil, nil, data, []byte(place))
}

func (s *sealer) open(place string, data []byte) ([]byte, error) {
	if s == nil {
		return data, nil
	}
	plain, err := s.aead.Open(nil, nil, data, []byte(place))
	if err != nil {
		return nil, ErrSealKey
	}
	return plain, nil
}

// tokenContext is the place of a token.
func tokenContext(inbox string) string { return "tokens/" + inbox }

func (s *sealer) decodeToken(inbox string, data []byte) (Token, error) {
	plain, err := s.open(tokenContext(inbox), data)
	if err != nil {
		return Token{}, err
	}
	var t plainToken
	if err := unmarshal(plain, &t); err != nil {
		return Token{}, damaged(fmt.Errorf("unreadable: %w", redactJSON(err)))
	}
	return Token(t), nil
}

// redactJSON drops the text of an error of encoding/json, which may quote what
// it read.
func redactJSON(err error) error { return fmt.Errorf("%T", err) }
