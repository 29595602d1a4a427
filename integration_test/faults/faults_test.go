package faults

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/media/mediatest"
	"github.com/archiverd/archiverd/storage/storagetest"
)

const (
	mediaPath    = "/bucket/genesys/media/org=acme/inbox=u/undated/r.wav"
	manifestPath = "/bucket/genesys/manifests/org=acme/inbox=u/undated/r.json"
	manifestText = `{"recording_id":"r","user":{"id":"u"},"media":{"key":"genesys/media/org=acme/inbox=u/undated/r.wav","size":%d,"sha256":"%s"}}`
)

// badClient writes to a store as archiverd must never do.
type badClient struct {
	*testing.T
	store  *Store
	server *storagetest.Server
}

func newBadClient(t *testing.T) *badClient {
	t.Helper()
	c := &badClient{T: t}
	c.server = storagetest.Fake(t, func(h http.Handler) http.Handler {
		c.store = NewStore(Checking(h))
		return c.store
	})
	if err := c.server.CreateBucket(t.Context(), "bucket", true); err != nil {
		t.Fatal(err)
	}
	return c
}

// send sends a request with pairs of headers, and returns the reply's status.
func (c *badClient) send(method, path, body string, header ...string) int {
	c.Helper()
	r, err := http.NewRequest(method, c.server.Endpoint+path, strings.NewReader(body))
	if err != nil {
		c.Fatal(err)
	}
	r.Header.Set("User-Agent", "archiverd/bad")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	p, err := http.DefaultClient.Do(r)
	if err != nil {
		c.Fatal(err)
	}
	p.Body.Close()
	return p.StatusCode
}

// put writes as archiverd does, unless headers say otherwise.
func (c *badClient) put(path, body string, header ...string) int {
	c.Helper()
	sum := sha256.Sum256([]byte(body))
	return c.send(http.MethodPut, path, body, append([]string{
		"If-None-Match", "*", "X-Amz-Checksum-Sha256", base64.StdEncoding.EncodeToString(sum[:]), "X-Amz-Object-Lock-Mode", "GOVERNANCE",
	}, header...)...)
}

// TestEveryRuleOfTheStoreCanBeBroken lets a bad client break each rule.
func TestEveryRuleOfTheStoreCanBeBroken(t *testing.T) {
	for name, bad := range map[string]struct {
		do   func(c *badClient)
		says string
	}{
		"overwriting":           {func(c *badClient) { c.put(mediaPath, "a", "If-None-Match", "") }, "without If-None-Match"},
		"a blind completion":    {func(c *badClient) { c.send("POST", mediaPath+"?uploadId=1", "") }, "without If-None-Match"},
		"no checksum":           {func(c *badClient) { c.put(mediaPath, "a", "X-Amz-Checksum-Sha256", "") }, "without a checksum"},
		"a part's no checksum":  {func(c *badClient) { c.send("PUT", mediaPath+"?uploadId=1&partNumber=1", "a") }, "without a checksum"},
		"no retention":          {func(c *badClient) { c.put(mediaPath, "a", "X-Amz-Object-Lock-Mode", "") }, "without a retention"},
		"an unlocked upload":    {func(c *badClient) { c.send("POST", mediaPath+"?uploads", "") }, "without a retention"},
		"a deletion":            {func(c *badClient) { c.send("DELETE", mediaPath, "") }, "not deleted from"},
		"a token":               {func(c *badClient) { c.send("HEAD", mediaPath, "", "Authorization", "Bearer x") }, "a bearer token"},
		"manifest before media": {func(c *badClient) { c.put(manifestPath, fmt.Sprintf(manifestText, 1, "x")) }, "before its media"},
		"a manifest of nothing": {func(c *badClient) { c.put(manifestPath, "?") }, "invalid character"},
		"a key written twice": {func(c *badClient) {
			c.store.Inject(StoreFault{Op: "put media", Times: 2, Effect: without("If-None-Match")(nil)})
			c.put(mediaPath, "a")
			c.put(mediaPath, "b")
		}, "written twice"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newBadClient(t)
			c.store.Locked = true
			bad.do(c)
			if all := strings.Join(c.store.Violations(), "\n"); !strings.Contains(all, bad.says) {
				t.Errorf("violations %q, want one that says %q", all, bad.says)
			}
		})
	}
}

// A good client breaks no rule, and other clients are not checked.
func TestTheStoreTakesGoodRequests(t *testing.T) {
	c := newBadClient(t)
	c.store.Locked = true
	for path, body := range map[string]string{mediaPath: "a"} {
		if code := c.put(path, body); code != http.StatusOK {
			t.Errorf("put: %d", code)
		}
		if code := c.put(path, body); code != http.StatusPreconditionFailed {
			t.Errorf("second put: %d", code)
		}
	}
	c.put(manifestPath, fmt.Sprintf(manifestText, 1, "x"))
	if code := c.put(mediaPath+"2", "a", "X-Amz-Checksum-Sha256", "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg="); code != http.StatusBadRequest {
		t.Errorf("a wrong checksum: %d", code)
	}
	c.send("DELETE", mediaPath, "", "User-Agent", "another")
	if v := c.store.Violations(); len(v) != 0 {
		t.Errorf("violations: %q", v)
	}
}

// TestGuard puts a bucket into every state in which an original must not be deleted.
func TestGuard(t *testing.T) {
	cloud, err := genesystest.New(genesystest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cloud.Close)
	inbox := cloud.AddUser("u", "U", "")
	inbox.Add(genesystest.Recording{ID: "r", Duration: 50 * time.Millisecond})
	want, err := inbox.Media("r", "WAV")
	if err != nil {
		t.Fatal(err)
	}
	sum := fmt.Sprintf("%x", want.SHA256)
	media := served(t, inbox)
	good := map[string]string{strings.TrimPrefix(mediaPath, "/bucket/"): media, strings.TrimPrefix(manifestPath, "/bucket/"): fmt.Sprintf(manifestText, want.Size, sum)}
	for name, c := range map[string]struct {
		key, text string
		says      string
	}{
		"stored and described":            {},
		"no manifest":                     {manifestPath, "", "no manifest"},
		"a torn manifest":                 {manifestPath, "{", "no manifest"},
		"another recording's manifest":    {manifestPath, strings.Replace(fmt.Sprintf(manifestText, want.Size, sum), `"r"`, `"q"`, 1), "no manifest"},
		"a manifest with another SHA-256": {manifestPath, fmt.Sprintf(manifestText, want.Size, strings.Repeat("0", 64)), "its manifest says"},
		"a manifest with another size":    {manifestPath, fmt.Sprintf(manifestText, want.Size+1, sum), "its manifest says"},
		"no media":                        {mediaPath, "", "not there"},
		"media that lack their last byte": {mediaPath, media[:len(media)-1], "Genesys served"},
		"media with one bit changed":      {mediaPath, media[:len(media)-1] + string(media[len(media)-1]^1), "Genesys served"},
	} {
		t.Run(name, func(t *testing.T) {
			bucket := map[string]string{}
			for key, text := range good {
				bucket[key] = text
			}
			if c.key != "" {
				bucket[strings.TrimPrefix(c.key, "/bucket/")] = c.text
			}
			g := &Guard{Cloud: cloud, Format: func() string { return "WAV" },
				Keys: func(prefix string) (keys []string, err error) {
					for key, text := range bucket {
						if strings.HasPrefix(key, prefix) && text != "" {
							keys = append(keys, key)
						}
					}
					return keys, nil
				},
				Read: func(key string) ([]byte, error) {
					if bucket[key] == "" {
						return nil, fmt.Errorf("%s is not there", key)
					}
					return []byte(bucket[key]), nil
				}}
			err := g.Check("u", "r")
			if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("the guard says %v, want %q", err, c.says)
			}
		})
	}
}

// served are the media as Genesys serves them.
func served(t *testing.T, inbox *genesystest.Inbox) string {
	t.Helper()
	m, err := mediatest.New(inbox.Spec("r", "WAV"))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(m.Reader()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestTableIsWhole wants every class of failure for each side, and no cell twice.
func TestTableIsWhole(t *testing.T) {
	classes := map[Side]map[Class]bool{}
	names := map[string]bool{}
	for _, c := range Cells() {
		if classes[c.On] == nil {
			classes[c.On] = map[Class]bool{}
		}
		classes[c.On][c.Class] = true
		if name := c.Action.Name + "/" + c.Form.Name; names[name] {
			t.Errorf("%s is there twice", name)
		} else {
			names[name] = true
		}
	}
	all := []Class{Refused, Reset, Lost, Cut, Wrong, Stalled, Wait, Gone, Forbidden, Expired, Failing, NotDone}
	for side, want := range map[Side][]Class{API: all, Login: all, Storage: all, MediaHost: all[:11], Ledger: {Refused, Lost}} {
		for _, class := range want {
			if !classes[side][class] {
				t.Errorf("side %d has no form of %q", side, class)
			}
		}
	}
}
