package codec

import (
	"crypto/aes"
	"crypto/cipher"
	"fmt"

	"github.com/archiverd/archiverd/state"
)

// Sealer seals values with AES-256-GCM. A nil *Sealer leaves them in the clear. It is
// safe for concurrent use.
type Sealer struct{ aead cipher.AEAD }

// NewSealer returns a Sealer with a key of 32 bytes, or nil if key is nil.
func NewSealer(key []byte) (*Sealer, error) {
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
	return &Sealer{aead}, nil
}

// seal encrypts data and binds them to their place in the ledger: open fails for any
// other place.
func (s *Sealer) seal(place string, data []byte) []byte {
	if s == nil {
		return data
	}
	return s.aead.Seal(nil, nil, data, []byte(place))
}

func (s *Sealer) open(place string, data []byte) ([]byte, error) {
	if s == nil {
		return data, nil
	}
	plain, err := s.aead.Open(nil, nil, data, []byte(place))
	if err != nil {
		return nil, state.ErrSealKey
	}
	return plain, nil
}

const markPlace = "meta/seal"

// Mark returns a value that shows later whether a key is the one of this Sealer. ledger
// is the ledger's id.
func (s *Sealer) Mark(ledger string) []byte { return s.seal(markPlace, []byte(ledger)) }

// Fits compares the key with the one that made the mark, and returns ErrSealKey with the
// remedy if it is another.
func (s *Sealer) Fits(mark []byte, ledger string) error {
	if s == nil {
		return fmt.Errorf("%w: its tokens are sealed and there is no state.key_file: configure it again. (To do without, start a new ledger; every user must log in anew)", state.ErrSealKey)
	}
	if id, err := s.open(markPlace, mark); err != nil || string(id) != ledger {
		return fmt.Errorf("%w: state.key_file holds another key: configure the one used before", state.ErrSealKey)
	}
	return nil
}

// plainToken is Token without its redacting methods. It is the stored form.
type plainToken state.Token

func tokenPlace(org, inbox string) string { return "tokens/" + org + "/" + inbox }

// EncodeToken returns the stored form of an inbox's token.
func (s *Sealer) EncodeToken(org, inbox string, t state.Token) ([]byte, error) {
	data, err := Marshal(plainToken(t))
	if err != nil {
		return nil, err
	}
	return s.seal(tokenPlace(org, inbox), data), nil
}

// DecodeToken undoes EncodeToken. It returns ErrSealKey for data that were sealed with
// another key or for another inbox. No error shows a part of the token.
func (s *Sealer) DecodeToken(org, inbox string, data []byte) (state.Token, error) {
	plain, err := s.open(tokenPlace(org, inbox), data)
	if err != nil {
		return state.Token{}, err
	}
	var t plainToken
	if err := Unmarshal(plain, &t); err != nil { // whose text may quote the input
		return state.Token{}, fmt.Errorf("unreadable: %T", err)
	}
	return state.Token(t), nil
}
