package integration_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/archiverd/archiverd/integration_test/genesyssim"
)

// guard looks into the bucket whenever Genesys is asked for a deletion: what is to be
// deleted must be there, byte for byte, and described. It knows manifests by their
// content, and takes no word of archiverd's for anything.
type guard struct {
	*world
	mu        sync.Mutex
	known     map[string]bool        // manifest keys that were read
	manifests map[[2]string][]string // their keys, by inbox and recording
}

func (w *world) guardDeletions() {
	g := &guard{world: w, known: map[string]bool{}, manifests: map[[2]string][]string{}}
	w.cloud.Configure(func(o *genesyssim.Options) { o.OnDelete = g.check })
}

func (g *guard) check(user, id string) error {
	inbox := g.cloud.AddUser(user, "", "") // the one there is
	expected, err := inbox.Media(id, g.format())
	if err != nil {
		return err
	}
	want := media{expected.Size, hex.EncodeToString(expected.SHA256[:])}
	recording := [2]string{user, id}
	if g.anyHolds(g.keys(recording), want) == nil {
		return nil
	}
	if err := g.learnAll(); err != nil {
		return err
	}
	return g.anyHolds(g.keys(recording), want)
}

func (g *guard) anyHolds(keys []string, want media) error {
	err := errors.New("the bucket has no manifest of it")
	for _, key := range keys {
		if err = g.holds(key, want); err == nil {
			return nil
		}
	}
	return err
}

// holds reads a manifest and its media now.
func (g *guard) holds(key string, want media) error {
	body, err := g.read(key)
	if err != nil {
		return err
	}
	m, err := parseManifest(key, body)
	if err != nil {
		return err
	}
	stored, err := g.read(m.Media.Key)
	if err != nil {
		return err
	}
	if have := (media{int64(len(stored)), hexSum(stored)}); have != want || m.Media.SHA256 != want.sha256 {
		return fmt.Errorf("%s is %v, want %v", m.Media.Key, have, want)
	}
	return nil
}

// keys are those of a recording's manifests, as far as they were read.
func (g *guard) keys(recording [2]string) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.manifests[recording])
}

// learnAll reads the manifests that were not read yet.
func (g *guard) learnAll() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	objects, err := g.newest("genesys/manifests/")
	if err != nil {
		return err
	}
	for _, o := range objects {
		if err := g.learn(o.Key); err != nil {
			return err
		}
	}
	return nil
}

func (g *guard) learn(key string) error {
	if g.known[key] || !strings.HasSuffix(key, ".json") {
		return nil
	}
	body, err := g.read(key)
	if err != nil {
		return err
	}
	m, err := parseManifest(key, body)
	if err != nil {
		return err
	}
	g.known[key] = true
	recording := [2]string{m.User.ID, m.RecordingID}
	g.manifests[recording] = append(g.manifests[recording], key)
	return nil
}
