package bolt

import (
	"crypto/aes"
	"crypto/cipher"
	"fmt"

	"github.com/archiverd/archiverd/state"
)

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

// seal encrypts data and binds them to their place in the file: open fails for any other
// place.
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

// tokenContext returns the place of an inbox's token, for seal and open.
func tokenContext(inbox string) string { return "tokens/" + inbox }

func (s *sealer) decodeToken(inbox string, data []byte) (state.Token, error) {
	plain, err := s.open(tokenContext(inbox), data)
	if err != nil {
		return state.Token{}, err
	}
	var t plainToken
	if err := unmarshal(plain, &t); err != nil {
		return state.Token{}, damaged(fmt.Errorf("unreadable: %w", redactJSON(err)))
	}
	return state.Token(t), nil
}

// redactJSON drops the text of an error of encoding/json, which may quote the input.
func redactJSON(err error) error { return fmt.Errorf("%T", err) }
