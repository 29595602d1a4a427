package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
	"github.com/archiverd/archiverd/state/postgres"
	"github.com/archiverd/archiverd/storage/storagetest"
)

const orgName = "acme"

// userID names the users of a workload.
func userID(n int) string { return fmt.Sprintf("3f1c0f7e-5f5c-4f9b-8f2e-%012d", n) }

// settings are what a scenario configures beside the services.
type settings struct {
	inboxes int
	workers int
	memory  string
	deletes bool
	cron    string
	pprof   string // where profiles are served; empty: nowhere

	perMinute int           // requests for each token; 0: 3,000
	database  string        // the URL of the ledger; empty: it is a file
	claim     time.Duration // with database; 0: the default
	passes    int           // with database; 0: the default
}

// memory is transfer.memory where a scenario does not ask for another.
const memory = "128MiB"

// configure writes a configuration, with a ledger in which every user has logged
// in, and returns its path.
func (b *bench) configure(s settings, s3 *storagetest.Server, bucket string) (string, error) {
	path, err := b.writeConfig(s, s3, bucket)
	if err != nil {
		return "", err
	}
	return path, b.logIn(filepath.Join(filepath.Dir(path), "archiverd.db"), s, s3, bucket)
}

// writeConfig writes a configuration into a directory of its own, and returns its path.
func (b *bench) writeConfig(s settings, s3 *storagetest.Server, bucket string) (string, error) {
	dir, err := os.MkdirTemp(b.dir, "archiverd-")
	if err != nil {
		return "", err
	}
	place := map[string]any{"path": filepath.Join(dir, "archiverd.db")}
	if s.database != "" {
		place = map[string]any{"url": s.database}
	}
	c := map[string]any{
		"organizations": []any{map[string]any{
			"name": orgName, "api_url": b.origin.url, "login_url": b.origin.url, "client_id": "client", "client_secret": "secret",
			"format": "WAV", "requests_per_minute": cmp.Or(s.perMinute, 3000),
		}},
		"storage": map[string]any{
			"endpoint": s3.Endpoint, "region": s3.Region, "bucket": bucket, "path_style": s3.PathStyle,
			"access_key_id": s3.AccessKey, "secret_access_key": s3.SecretKey,
		},
		"state":            place,
		"transfer":         map[string]any{"workers": s.workers, "memory": s.memory, "min_age": "0s"},
		"delete_originals": map[string]any{"enabled": s.deletes, "after": "0s"},
		"schedule":         map[string]any{"cron": cmp.Or(s.cron, "0 * * * *")},
		"http":             map[string]any{"listen": s.pprof, "pprof": s.pprof != ""},
	}
	if s.passes > 0 {
		c["passes"] = s.passes
	}
	if s.claim > 0 {
		place["claim"] = s.claim.String()
	}
	text, err := json.Marshal(c) // YAML's subset
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "archiverd.yaml")
	return path, os.WriteFile(path, text, 0o600)
}

// logIn makes the ledger that the logins of all users would leave.
func (b *bench) logIn(path string, s settings, s3 *storagetest.Server, bucket string) error {
	l, err := b.openLedger(path, s.database, b.binding(s3, bucket))
	if err != nil {
		return err
	}
	for n := range s.inboxes {
		id := userID(n)
		token := state.Token{Access: id, Refresh: "refresh", Expiry: time.Now().Add(24 * time.Hour), Confirmed: true}
		err = errors.Join(err, l.EditInbox(context.Background(), orgName, id, func(*state.Inbox) {}), l.Login(context.Background(), orgName, id, token, nil))
	}
	return errors.Join(err, l.Close())
}

// closing is a ledger that can be closed.
type closing interface {
	state.Ledger
	Close() error
}

// openLedger opens the ledger in the database, or in the file at path if there is none.
func (b *bench) openLedger(path, database string, binding state.Binding) (closing, error) {
	if database != "" {
		return postgres.Open(context.Background(), database, postgres.Options{Binding: binding})
	}
	return bolt.Open(path, bolt.Options{Binding: binding})
}

// binding is what a ledger of these services belongs to.
func (b *bench) binding(s3 *storagetest.Server, bucket string) state.Binding {
	return state.Binding{
		Endpoint: s3.Endpoint, Bucket: bucket, Prefix: "genesys",
		Organizations: map[string]state.OrgBinding{orgName: {APIHost: strings.TrimPrefix(b.origin.url, "http://"), ClientID: "client"}},
	}
}

// command is archiverd with a configuration.
func (b *bench) command(config string, args ...string) *exec.Cmd {
	c := exec.Command(b.archiverdPath, append(args, "--config", config)...)
	c.Env = []string{"HOME=" + b.dir, "TZ=UTC"}
	return c
}
