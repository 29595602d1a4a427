package faults

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/archiverd/archiverd/genesys/genesystest"
)

// Manifest holds the fields of a manifest that the guard reads.
type Manifest struct {
	RecordingID string `json:"recording_id"`
	User        struct{ ID string }
	Media       struct {
		Key, SHA256 string
		Size        int64
	}
}

// Guard checks the bucket whenever Genesys is asked for a deletion: the recording must be
// there, byte for byte, with a manifest. It identifies manifests by their content, and
// relies on nothing that archiverd says. Check is an OnDelete.
type Guard struct {
	Cloud  *genesystest.Cloud
	Format func() string
	Keys   func(prefix string) ([]string, error)
	Read   func(key string) ([]byte, error)

	mu        sync.Mutex
	manifests map[string]Manifest // those that were read, by key
}

// Check returns why a recording must not be deleted now, or nil.
func (g *Guard) Check(user, id string) error {
	expected, err := g.Cloud.AddUser(user, "", "").Media(id, g.Format()) // returns the existing inbox
	if err != nil {
		return err
	}
	want := fmt.Sprintf("%x", expected.SHA256)
	if g.stored(user, id, want) == nil {
		return nil
	}
	if err := g.learn(); err != nil {
		return err
	}
	return g.stored(user, id, want)
}

// stored reads the known manifests of a recording and their media from the bucket.
func (g *Guard) stored(user, id, want string) error {
	err := errors.New("the bucket has no manifest of it")
	for _, key := range g.of(user, id) {
		if err = g.holds(key, want); err == nil {
			return nil
		}
	}
	return err
}

func (g *Guard) of(user, id string) (keys []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for key, m := range g.manifests {
		if m.User.ID == user && m.RecordingID == id {
			keys = append(keys, key)
		}
	}
	return keys
}

func (g *Guard) holds(key, want string) error {
	m, err := g.parse(key)
	if err != nil {
		return err
	}
	stored, err := g.Read(m.Media.Key)
	if err != nil {
		return err
	}
	if have := fmt.Sprintf("%x", sha256.Sum256(stored)); have != want || m.Media.SHA256 != want || m.Media.Size != int64(len(stored)) {
		return fmt.Errorf("%s has %d bytes with the SHA-256 %s, its manifest says %d and %s, Genesys served %s",
			m.Media.Key, len(stored), have, m.Media.Size, m.Media.SHA256, want)
	}
	return nil
}

func (g *Guard) parse(key string) (m Manifest, err error) {
	body, err := g.Read(key)
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return m, fmt.Errorf("manifest %s: %w", key, err)
	}
	return m, nil
}

// learn reads the manifests that it has not read before.
func (g *Guard) learn() error {
	keys, err := g.Keys("genesys/manifests/")
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.manifests == nil {
		g.manifests = map[string]Manifest{}
	}
	for _, key := range keys {
		if _, known := g.manifests[key]; known || !strings.HasSuffix(key, ".json") {
			continue
		}
		if m, err := g.parse(key); err == nil { // an invalid manifest proves nothing
			g.manifests[key] = m
		}
	}
	return nil
}
