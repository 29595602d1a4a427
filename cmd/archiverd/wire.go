package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/archiverd/archiverd/archiver"
	"github.com/archiverd/archiverd/audit"
	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/fleet"
	"github.com/archiverd/archiverd/journal"
	"github.com/archiverd/archiverd/network"
	"github.com/archiverd/archiverd/proof"
	"github.com/archiverd/archiverd/rebuild"
	"github.com/archiverd/archiverd/service/watch"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
	"github.com/archiverd/archiverd/state/postgres"
	"github.com/archiverd/archiverd/storage"
	"github.com/archiverd/archiverd/tally"
	"github.com/archiverd/archiverd/twins"
	"github.com/archiverd/archiverd/uploads"
)

// openBucket opens the bucket and checks that it can be used.
func openBucket(ctx context.Context, c *config.Config) (*storage.Bucket, error) {
	return openObservedBucket(ctx, c, nil, nil)
}

// openObservedBucket calls observe after every request, and moved whenever bytes move.
func openObservedBucket(ctx context.Context, c *config.Config, observe func(op string, status int), moved func()) (*storage.Bucket, error) {
	b, err := newBucket(ctx, c, observe, moved)
	if err != nil {
		return nil, err
	}
	return b, b.Check(ctx)
}

func newBucket(ctx context.Context, c *config.Config, observe func(op string, status int), moved func()) (*storage.Bucket, error) {
	o, err := storageOptions(c, moved)
	if err != nil {
		return nil, err
	}
	o.Observe = observe
	b, err := storage.Open(ctx, o)
	return b, fail(exitUsage, err)
}

// storageOptions returns the options of the configured bucket, with archiverd's own
// credentials.
func storageOptions(c *config.Config, moved func()) (storage.Options, error) {
	transport, err := network.NewTransport(network.Options{CAFile: c.Network.CAFile, Moved: moved})
	return storage.Options{
		Endpoint:        c.Storage.Endpoint,
		Region:          c.Storage.Region,
		Bucket:          c.Storage.Bucket,
		Prefix:          c.Storage.Prefix,
		PathStyle:       c.Storage.PathStyle,
		AccessKeyID:     c.Storage.AccessKeyID,
		SecretAccessKey: c.Storage.SecretAccessKey.Reveal(),
		Again:           c.StorageKeysAgain,
		Encryption:      c.Storage.Encryption.Mode,
		KMSKeyID:        c.Storage.Encryption.KMSKeyID,
		StorageClass:    c.Storage.StorageClass,
		Checksum:        c.Storage.Checksum,
		Transport:       transport,
		UserAgent:       userAgent(),
	}, fail(exitUsage, err)
}

// ledger is the whole of a *bolt.Ledger or a *postgres.Ledger: which one it is, only the
// configuration says. It is wide because this package opens the ledger and hands it to
// packages that each ask for a part. A function here that calls a ledger itself asks only
// for what it calls.
type ledger interface {
	state.Ledger
	Recount(ctx context.Context) error // state.ErrDamaged if an entry is missing
	Disk() (size, free int64, err error)
	Close() error
}

// openLedger opens the ledger that belongs to the configuration.
func openLedger(ctx context.Context, c *config.Config, readOnly bool) (ledger, error) {
	if c.State.URL != "" {
		o := databaseOptions(c)
		o.ReadOnly = readOnly
		l, err := postgres.Open(ctx, c.State.URL, o)
		if err != nil {
			return nil, fail(exitUsage, err)
		}
		return l, nil
	}
	l, err := bolt.Open(c.State.Path, bolt.Options{Binding: binding(c), SealKey: c.State.SealKey, ReadOnly: readOnly})
	if err != nil {
		return nil, failOpen(err)
	}
	return l, nil
}

// failOpen gives the error of a ledger file that could not be opened its exit code.
func failOpen(err error) error {
	if errors.Is(err, bolt.ErrHeld) {
		return fail(exitHeld, err)
	}
	return fail(exitUsage, err)
}

// gather is short beside what a recording takes where Genesys is, and lets a process that
// archives many recordings a second make a third of the transactions.
const gather = 100 * time.Millisecond

func databaseOptions(c *config.Config) postgres.Options {
	return postgres.Options{Binding: binding(c), Password: c.State.Password.Reveal(), SealKey: c.State.SealKey, Claim: c.State.Claim, Gather: gather}
}

// hasLedger reports whether the configuration's ledger has been made.
func hasLedger(ctx context.Context, c *config.Config) (bool, error) {
	if c.State.URL == "" {
		_, err := os.Lstat(c.State.Path)
		return !errors.Is(err, fs.ErrNotExist), nil
	}
	l, err := openLedger(ctx, c, toRead)
	switch {
	case errors.Is(err, state.ErrNoLedger):
		return false, nil
	case err != nil:
		return false, err
	}
	return true, l.Close()
}

// binding returns the bucket and the organizations that a ledger of the configuration
// is bound to.
func binding(c *config.Config) state.Binding {
	b := state.Binding{
		Endpoint:      c.Storage.Endpoint,
		Bucket:        c.Storage.Bucket,
		Prefix:        c.Storage.Prefix,
		Organizations: map[string]state.OrgBinding{},
	}
	for _, o := range c.Organizations {
		b.Organizations[o.Name] = state.OrgBinding{APIHost: host(o.APIURL), ClientID: o.ClientID}
	}
	return b
}

// host takes apart a URL that the configuration has validated.
func host(rawURL string) string {
	u, _ := url.Parse(rawURL)
	return u.Host
}

func deletion(c *config.Config) archiver.Deletion {
	return archiver.Deletion{
		Enabled:    c.DeleteOriginals.Enabled,
		After:      c.DeleteOriginals.After,
		MaxPerPass: c.DeleteOriginals.MaxPerPass,
		Unproved:   c.DeleteOriginals.Unproved,
		ReadBack:   c.DeleteOriginals.ReadBack,
	}
}

// opened is a configuration with the bucket and the ledger that it names.
type opened struct {
	*config.Config
	bucket *storage.Bucket
	ledger ledger
}

// hooks connect a fleet with the process that it runs in.
type hooks struct {
	metrics *watch.Metrics
	moved   func()      // called whenever bytes move; may be nil
	halted  func() bool // while true, no deletion is requested; may be nil
}

func (o opened) newArchiver(log *slog.Logger, h hooks) *archiver.Archiver {
	deletion := deletion(o.Config)
	deletion.Halted = h.halted
	finder := twins.Finder{Ledger: o.ledger}
	if l, ok := o.ledger.(*postgres.Ledger); ok {
		finder.Across = l
	}
	prover := o.newProver(log)
	return archiver.New(archiver.Options{
		Bucket:    o.bucket,
		Ledger:    o.ledger,
		Prover:    prover,
		Journal:   o.newJournal(prover, log),
		Uploads:   &uploads.Uploader{Bucket: o.bucket, Ledger: o.ledger, Prefix: o.Storage.Prefix, Log: log},
		Twins:     finder,
		Prefix:    o.Storage.Prefix,
		Workers:   o.Transfer.Workers,
		Memory:    o.Transfer.Memory,
		Bandwidth: o.Transfer.Bandwidth,
		MinAge:    o.Transfer.MinAge,
		Delete:    deletion,
		Retention: retention(o.Config),
		Version:   version(),
		Observer:  h.metrics,
		Log:       log,
	})
}

func (o opened) newProver(log *slog.Logger) *proof.Prover {
	return &proof.Prover{Bucket: o.bucket, Prefix: o.Storage.Prefix, Ledger: o.ledger.ID(), Log: log}
}

func (o opened) newJournal(prover *proof.Prover, log *slog.Logger) *journal.Writer {
	return &journal.Writer{
		Bucket: o.bucket, Ledger: o.ledger, Prover: prover, Prefix: o.Storage.Prefix, Retention: retention(o.Config),
		Configuration: o.Hash(), Version: version(), Log: log,
	}
}

func (o opened) rebuildOptions(log *slog.Logger, t *tally.Tally) rebuild.Options {
	return rebuild.Options{
		Bucket: o.bucket, Ledger: o.ledger, Prover: o.newProver(log), Prefix: o.Storage.Prefix, Version: version(),
		Retention: retention(o.Config), Log: log, Tally: t,
	}
}

func (o opened) newAuditor(log *slog.Logger) *audit.Auditor {
	return &audit.Auditor{
		Bucket: o.bucket, Ledger: o.ledger, Prefix: o.Storage.Prefix, Workers: o.Transfer.Workers, Retention: retention(o.Config),
		Log: log, Tally: &tally.Tally{},
	}
}

func (o opened) newFleet(log *slog.Logger, h hooks) *fleet.Fleet {
	f := fleet.Options{Config: o.Config, Ledger: o.ledger, Archiver: o.newArchiver(log, h), Log: log}
	f.Hosts = func(org config.Organization) (*fleet.Hosts, error) {
		return fleet.NewHosts(o.Config, org, userAgent(), h.metrics.APIRequest(org.Name), h.moved)
	}
	if address := o.HeartbeatURL.Reveal(); address != "" {
		f.Heartbeat = func(stop context.Context) error { return sendHeartbeat(stop, o.Config, address) }
	}
	return fleet.New(f)
}

// retention returns the configured retention, in S3's terms.
func retention(c *config.Config) proof.Retention {
	r := proof.Retention{Until: c.Storage.ObjectLock.RetainFor.After}
	if mode := c.Storage.ObjectLock.Mode; mode != "none" {
		r.Mode = strings.ToUpper(mode)
	}
	return r
}
