package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// Hash returns a SHA-256 of all values but the secrets, in hex. It changes when the
// configuration changes, and no secret can be guessed from it.
func (c *Config) Hash() string {
	// Secrets marshal redacted. A time.Location marshals as an empty object, so its name is added.
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
