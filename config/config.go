// Package config turns archiverd's configuration file into a validated value.
//
// It promises:
//
//   - A Config is complete: every default is filled in, every relative path
//     resolved, every secret and key file read, and no value is out of range.
//   - A file with faults gives an *Error instead of a Config. The error lists all
//     faults at once, each with line, column, key path and remedy.
//   - The file is read strictly. Unknown and duplicate keys, a second document,
//     values of another type and unset variables are faults; YAML's anchors,
//     aliases, merge keys, tags and directives are refused.
//   - Variables are replaced after parsing, so their values are never read as YAML.
//   - No fault shows a secret or the value of a variable, and the types that hold
//     secrets redact themselves.
//   - Loading has no side effects, and no input makes it panic.
//
// The documented example of every key is archiverd.example.yaml.
package config

import (
	"log/slog"
	"time"

	"github.com/robfig/cron/v3"
)

// Config is the whole configuration. It is only read after Load, so it may be shared.
type Config struct {
	Organizations   []Organization // at least one; names are unique
	Storage         Storage
	State           State
	Schedule        Schedule
	Transfer        Transfer
	DeleteOriginals DeleteOriginals
	Network         Network
	HTTP            HTTP
	Metrics         Metrics
	Passes          int           // made at a time by each process that shares its ledger; 1 to 64; default 16: as many as 16 transfers can serve 50 ms away (make bench-workers)
	HeartbeatURL    Secret        // http or https; called after good runs; empty: none
	ReportTimeout   time.Duration // for pushing metrics and the heartbeat, which run at the same time; at least 1 s; default 10 s
	ShutdownGrace   time.Duration // time for transfers under way to finish after SIGTERM; default 30 s, 0: none
	Log             Log

	again func() (*Config, error)
}

// Again loads the same file again, to read a secret that was replaced.
func (c *Config) Again() (*Config, error) { return c.again() }

// Organization is one Genesys Cloud organization and its OAuth client.
type Organization struct {
	Name              string // [a-z0-9-]{1,63}, part of every object key
	Domain            string // such as mypurecloud.ie; may be empty if both URLs are given
	APIURL            string // http or https, without a trailing slash; default https://api.{Domain}
	LoginURL          string // http or https, without a trailing slash; default https://login.{Domain}
	ClientID          string
	ClientSecret      Secret
	Grant             string       // "authorization_code" (default), "client_credentials" or "command"
	RedirectURL       string       // as registered for the client; default http://127.0.0.1:8085/callback
	TokenCommand      []string     // set only if Grant is command, and then always: a program and its arguments. ps shows them: no secrets here
	RosterFile        string       // absolute; empty: none. Never empty if Grant is command
	Roster            []RosterUser // the content of RosterFile when loaded
	DownloadAPI       string       // "transcoding" (default) or "media"
	Format            string       // WAV, WEBM, WAV_ULAW, OGG_VORBIS, OGG_OPUS, MP3 or NONE; no default
	PageSize          int          // 1 to 500; default 100
	RequestsPerMinute int          // for one token, 1 to 3000; default 300
}

// Storage is the bucket of the archive and how objects are written there.
type Storage struct {
	Endpoint        string // http or https, without a trailing slash; empty: AWS
	Region          string // required for AWS; default us-east-1 if Endpoint is set
	Bucket          string
	Prefix          string // not empty, without slashes at its ends; default genesys
	PathStyle       bool
	AccessKeyID     string // empty: the AWS default credential chain
	SecretAccessKey Secret // set if and only if AccessKeyID is
	Encryption      Encryption
	ObjectLock      ObjectLock
	StorageClass    string // empty: the bucket's default; only classes that can be read without a restore
	Checksum        string // "auto" (default) or "md5"
}

// Encryption is the requested server-side encryption.
type Encryption struct {
	Mode     string // "none" (default), "AES256" or "aws:kms"
	KMSKeyID string // only with aws:kms; empty: the account's default key
}

// ObjectLock is the requested retention.
type ObjectLock struct {
	Mode      string // "none" (default), "governance" or "compliance"
	RetainFor Period // more than zero; default 7 years; no effect in mode none
}

// State is the ledger. Either Path or URL is set.
type State struct {
	Path     string        // absolute; a relative one is resolved against the configuration file's directory; empty if URL is set
	URL      string        // of a PostgreSQL database, without a password; empty: the ledger is a file
	Password Secret        // of URL; empty: none, or one in the file that PGPASSFILE names
	Claim    time.Duration // with URL: how long a process that died keeps the inboxes it worked on; at least 10 s, default 60 s
	SealKey  Key           // the 32 bytes of key_file; nil: tokens are not sealed
}

// Place names the ledger in messages: its Path or its URL.
func (s State) Place() string {
	if s.URL != "" {
		return s.URL
	}
	return s.Path
}

// Schedule says when runs start.
type Schedule struct {
	Cron     string         // as written; default */15 * * * *
	Timezone *time.Location // default Europe/Dublin
	Parsed   cron.Schedule  // Next works in Timezone, whatever the location of its argument
}

// Transfer bounds the work of a run.
type Transfer struct {
	Workers   int           // 1 to 256; default 8
	Memory    int64         // bytes of all buffers, at least 8 MiB; default 128 MiB
	Bandwidth int64         // bytes a second; default 0: unlimited
	MinAge    time.Duration // younger recordings wait; default 10 min
}

// DeleteOriginals says whether and when archived originals are deleted.
type DeleteOriginals struct {
	Enabled    bool          // default false
	After      time.Duration // default 7 d
	MaxPerPass int           // at least 1; default 1000
	Unproved   bool          // also delete if it is not known whether the media are whole; default false
	ReadBack   bool          // read every byte of media and manifest right before a deletion; default false
}

// Network says how other hosts are reached.
type Network struct {
	CAFile       string   // absolute, PEM, readable when loaded; empty: only the system's roots
	AllowLinksTo []string // CIDRs, addresses and lower-case host names
}

// HTTP says where a service listens for HTTP, and which pages it serves.
type HTTP struct {
	Listen string // host:port, the host may be empty; default 127.0.0.1:9817; empty: do not listen
	Page   bool   // the status page; default true
	Pprof  bool   // Go's profiles; default false
}

// Metrics says where a single run writes its metrics; a service serves them at HTTP.
type Metrics struct {
	Textfile string // absolute, ends in .prom; empty: none
	PushURL  Secret // of a Pushgateway, http or https, perhaps with user and password; empty: none
}

// Log says which messages are logged, and in which format.
type Log struct {
	Level  slog.Level // default info
	Format string     // "auto" (default), "text" or "json"
}
