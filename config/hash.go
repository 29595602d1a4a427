package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// Hash is a SHA-256 of all values but the secrets, in hex: the same as long as the
// configuration is, and nothing that a secret could be guessed from.
func (c *Config) Hash() string {
	// Secrets marshal redacted, a location as nothing.
	text, err := json.Marshal(struct {
		Config
		Timezone string
	}{*c, c.Schedule.Timezone.String()})
	if err != nil {
		panic(fmt.Sprintf("a validated configuration can't be encoded: %v", err))
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
