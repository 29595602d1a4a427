package config

import (
	"crypto/x509"
	"encoding/base64"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Load reads the configuration file at path. lookupEnv returns the variables that the
// file names, and CREDENTIALS_DIRECTORY, where systemd keeps secrets; nil: there are no
// variables. Every failure is an *Error.
func Load(path string, lookupEnv func(string) (string, bool)) (*Config, error) {
	c, d := load(path, lookupEnv)
	if len(d.faults) == 0 {
		c.again = func() (*Config, error) { return Load(path, lookupEnv) }
		return c, nil
	}
	sortFaults(d.faults)
	return nil, &Error{File: path, Faults: d.faults}
}

func load(path string, lookupEnv func(string) (string, bool)) (*Config, *decoder) {
	if lookupEnv == nil {
		lookupEnv = func(string) (string, bool) { return "", false }
	}
	c, d := &Config{}, &decoder{lookupEnv: lookupEnv}
	data, err := readFile(path, maxFile)
	if err == nil {
		d.dir, err = filepath.Abs(filepath.Dir(path))
	}
	if err != nil {
		d.fault(position{}, "", "cannot read the configuration file: %v; name another with --config", err)
		return nil, d
	}
	if root := d.parse(data); root != nil {
		begin := position{1, 1}
		c.decode(value{decoder: d, node: root, at: begin, key: begin}.section())
		d.finish()
	}
	return c, d
}

func (c *Config) decode(s *section) {
	c.Organizations = organizations(s.need("organizations").list("a list of at least one organization"))
	c.Storage.decode(s.get("storage").section())
	c.State.decode(s.get("state").section())
	c.Schedule.decode(s.get("schedule").section())
	c.Transfer.decode(s.get("transfer").section())
	c.Passes = read(s.get("passes"), 16, between(1, 64))
	c.DeleteOriginals.decode(s.get("delete_originals").section())
	c.Network.decode(s.get("network").section())
	c.HTTP.decode(s.get("http").section())
	c.Metrics.decode(s.get("metrics").section())
	c.HeartbeatURL = s.secretURL("heartbeat_url")
	c.ReportTimeout = read(s.get("report_timeout"), 10*time.Second, durationOf(time.Second, "1s"))
	c.ShutdownGrace = read(s.get("shutdown_grace"), 30*time.Second, duration())
	c.Log.decode(s.get("log").section())
}

func organizations(values []value) []Organization {
	all, owner := make([]Organization, len(values)), map[string]string{}
	for i, v := range values {
		s := v.section()
		all[i].decode(s)
		if first, taken := owner[all[i].Name]; taken {
			s.get("name").fault("%s has the same name; give each its own", first)
		} else if all[i].Name != "" {
			owner[all[i].Name] = v.path
		}
	}
	return all
}

func (o *Organization) decode(s *section) {
	o.Name = read(s.need("name"), "", matching("a name of 1 to 63 of a-z 0-9 and -", `[a-z0-9-]{1,63}`))
	o.hosts(s)
	o.ClientID = read(s.need("client_id"), "", matching("the id of the OAuth client, without spaces", `\S+`))
	o.ClientSecret = s.secret("client_secret", true)
	o.Grant = read(s.get("grant"), "authorization_code", oneOf("authorization_code", "client_credentials", "command"))
	o.RedirectURL = read(s.get("redirect_url"), "http://127.0.0.1:8085/callback", redirect())
	o.command(s)
	o.roster(s)
	o.DownloadAPI = read(s.get("download_api"), "transcoding", oneOf("transcoding", "media"))
	o.Format = read(s.need("format"), "", oneOf("WAV", "WEBM", "WAV_ULAW", "OGG_VORBIS", "OGG_OPUS", "MP3", "NONE"))
	o.PageSize = read(s.get("page_size"), 100, between(1, 500))
	o.RequestsPerMinute = read(s.get("requests_per_minute"), 300, between(1, 3000))
}

// command decodes the program that prints tokens. A relative path is resolved against the file's directory; a name without a
// slash is looked up in PATH.
func (o *Organization) command(s *section) {
	v := s.get("token_command")
	for _, word := range v.list("a list of a program and its arguments") {
		o.TokenCommand = append(o.TokenCommand, read(word, "", anyText("text")))
	}
	switch {
	case s.broken || v.faulty() || s.get("grant").faulty():
	case o.Grant == "command" && (len(o.TokenCommand) == 0 || o.TokenCommand[0] == ""):
		v.fault("missing; want a list of a program and its arguments, which is run with a user id and prints that user's token")
	case o.Grant != "command" && len(o.TokenCommand) > 0:
		v.fault("has no effect with grant %s; set grant: command or remove it", o.Grant)
	case len(o.TokenCommand) > 0 && strings.Contains(o.TokenCommand[0], "/"):
		o.TokenCommand[0] = s.beside(o.TokenCommand[0])
	}
}

// roster decodes the list of users who should be covered. With a token command only this list says which inboxes there are.
func (o *Organization) roster(s *section) {
	v := s.get("roster_file")
	name := read(v, "", anyText("the path of a CSV file"))
	switch {
	case name != "":
		o.RosterFile = s.beside(name)
		var err error
		if o.Roster, err = ReadRoster(o.RosterFile); err != nil {
			v.fault("%v", err)
		}
	case o.Grant == "command" && !s.broken && !v.faulty():
		v.fault("missing; want the path of a CSV file with the ids and e-mail addresses of the users whose inboxes are archived")
	}
}

// hosts decodes the domain, and the URLs whose defaults are hosts of the domain.
func (o *Organization) hosts(s *section) {
	bare := s.get("domain")
	o.Domain = read(bare, "", domain())
	for _, host := range []struct {
		key string
		url *string
	}{{"api", &o.APIURL}, {"login", &o.LoginURL}} {
		v := s.get(host.key + "_url")
		*host.url = read(v, "", address("a URL"))
		if *host.url == "" && o.Domain != "" {
			*host.url = "https://" + host.key + "." + o.Domain
		}
		if *host.url == "" && !s.broken && !v.faulty() && !bare.faulty() {
			bare.fault("missing; want %s, or both api_url and login_url", domain().want)
		}
	}
}

func (c *Storage) decode(s *section) {
	endpoint := s.get("endpoint")
	c.Endpoint = read(endpoint, "", address("the store's URL"))
	region := s.get("region")
	c.Region = read(region, "", matching("a region such as eu-west-1", `[A-Za-z0-9_-]*`))
	switch {
	case c.Region != "" || s.broken || region.faulty() || endpoint.faulty():
	case c.Endpoint == "":
		region.fault("missing; want the bucket's AWS region such as eu-west-1, or an endpoint")
	default:
		c.Region = "us-east-1" // the endpoint decides, but a signature needs a region
	}
	c.Bucket = read(s.need("bucket"), "", matching("a bucket of 3 to 63 of A-Z a-z 0-9 . _ and -, without folders: those go in prefix",
		`[A-Za-z0-9][A-Za-z0-9._-]{2,62}`))
	c.Prefix = read(s.get("prefix"), "genesys", prefix())
	c.PathStyle = read(s.get("path_style"), false, flag())
	c.credentials(s)
	c.Encryption.decode(s.get("encryption").section())
	c.ObjectLock.decode(s.get("object_lock").section())
	c.StorageClass = read(s.get("storage_class"), "", oneOf("", "STANDARD", "STANDARD_IA", "ONEZONE_IA",
		"INTELLIGENT_TIERING", "GLACIER_IR", "REDUCED_REDUNDANCY", "EXPRESS_ONEZONE"))
	c.Checksum = read(s.get("checksum"), "auto", oneOf("auto", "md5"))
}

func (c *Storage) credentials(s *section) {
	id := s.get("access_key_id")
	c.AccessKeyID = read(id, "", matching("an access key id without spaces", `\S*`))
	c.SecretAccessKey = s.secret("secret_access_key", c.AccessKeyID != "")
	if c.AccessKeyID == "" && c.SecretAccessKey.Reveal() != "" && !id.faulty() {
		id.fault("missing beside secret_access_key; give both, or neither for the AWS default credential chain")
	}
}

func (e *Encryption) decode(s *section) {
	e.Mode = read(s.get("mode"), "none", oneOf("none", "AES256", "aws:kms"))
	key := s.get("kms_key_id")
	e.KMSKeyID = read(key, "", matching("a key id or ARN without spaces", `\S*`))
	if e.KMSKeyID != "" && e.Mode != "aws:kms" && !s.get("mode").faulty() {
		key.fault("has no effect in mode %s; set mode: aws:kms or remove it", e.Mode)
	}
}

func (l *ObjectLock) decode(s *section) {
	l.Mode = read(s.get("mode"), "none", oneOf("none", "governance", "compliance"))
	l.RetainFor = read(s.get("retain_for"), Period{Years: 7}, period())
}

func (c *State) decode(s *section) {
	c.Path = s.beside(read(s.get("path"), "/var/lib/archiverd/archiverd.db", matching("the path of the ledger", `.+`)))
	c.database(s)
	v := s.get("key_file")
	name := read(v, "", anyText("the path of a file"))
	if name == "" {
		return
	}
	encoded, ok := v.secretFile(name)
	key, err := base64.StdEncoding.DecodeString(encoded)
	switch {
	case !ok:
	case err != nil || len(key) != 32:
		v.fault("want a file with 32 random bytes in base64; make one with: openssl rand -base64 32")
	default:
		c.SealKey = key
	}
}

// database decodes what is said of a ledger in PostgreSQL.
func (c *State) database(s *section) {
	v := s.get("url")
	c.URL = read(v, "", databaseURL())
	c.Password = s.secret("password", false)
	c.Claim = read(s.get("claim"), time.Minute, durationOf(10*time.Second, "10s"))
	switch {
	case c.URL != "" && s.get("path").node != nil:
		v.fault("given beside path; keep one of them: path keeps the ledger in a file, url in a PostgreSQL database")
	case c.URL != "":
		c.Path = ""
	case c.Password.Reveal() != "" && !v.faulty():
		v.fault("missing beside password; want the URL of a PostgreSQL database, or no password")
	}
}

func (c *Schedule) decode(s *section) {
	zone := read(s.get("timezone"), "Europe/Dublin", timezone())
	c.Timezone, _ = time.LoadLocation(zone) // checked by timezone
	c.Cron = read(s.get("cron"), "*/15 * * * *", cronText())
	c.Parsed, _ = parseCron(c.Cron, c.Timezone) // checked by cronText
}

func (c *Transfer) decode(s *section) {
	c.Workers = read(s.get("workers"), 16, between(1, 256))
	c.Memory = read(s.get("memory"), 128<<20, size(8<<20, "8MiB"))
	c.Bandwidth = read(s.get("bandwidth"), 0, size(0, "0"))
	c.MinAge = read(s.get("min_age"), 10*time.Minute, duration())
}

func (c *DeleteOriginals) decode(s *section) {
	c.Enabled = read(s.get("enabled"), false, flag())
	c.After = read(s.get("after"), 7*day, duration())
	c.MaxPerPass = read(s.get("max_per_pass"), 1000, between(1, 1e9))
	c.Unproved = read(s.get("unproved"), false, flag())
	c.ReadBack = read(s.get("read_back"), false, flag())
}

func (c *Network) decode(s *section) {
	v := s.get("ca_file")
	if name := read(v, "", anyText("the path of a PEM file")); name != "" {
		c.CAFile = s.beside(name)
		pem, err := readFile(c.CAFile, maxFile)
		if err != nil {
			v.fault("cannot read the file: %v; a relative path begins beside the configuration file", err)
		} else if !x509.NewCertPool().AppendCertsFromPEM(pem) {
			v.fault("want a file with certificates in PEM")
		}
	}
	for _, v := range s.get("allow_links_to").list("a list of hosts and CIDRs") {
		c.AllowLinksTo = append(c.AllowLinksTo, read(v, "", linkTarget()))
	}
}

func (c *HTTP) decode(s *section) {
	c.Listen = read(s.get("listen"), "127.0.0.1:9817", listenAddress())
	c.Page = read(s.get("page"), true, flag())
	c.Pprof = read(s.get("pprof"), false, flag())
}

func (c *Metrics) decode(s *section) {
	// node_exporter reads only files that end in .prom.
	if name := read(s.get("textfile"), "", matching("the path of a file that ends in .prom", `|.+\.prom`)); name != "" {
		c.Textfile = s.beside(name)
	}
	c.PushURL = s.secretURL("push_url")
}

// secretURL reads a secret that is a URL.
func (s *section) secretURL(key string) Secret {
	text := s.secret(key, false)
	u, err := url.Parse(text.Reveal())
	if text.Reveal() == "" || err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" {
		return text
	}
	v := s.get(key)
	if v.node == nil {
		v = s.get(key + "_file")
	}
	v.fault("want an http or https URL")
	return Secret{}
}

func (c *Log) decode(s *section) {
	level := read(s.get("level"), "info", oneOf("debug", "info", "warn", "error"))
	_ = c.Level.UnmarshalText([]byte(level)) // the four are its own names
	c.Format = read(s.get("format"), "auto", oneOf("auto", "text", "json"))
}

// secret reads a secret from key or from its twin, key_file. An empty value counts as absent.
func (s *section) secret(key string, required bool) Secret {
	v, twin := s.get(key), s.get(key+"_file")
	inline := read(v, "", rule[string]{want: "a secret in text", kinds: text, private: true, parse: anyText("").parse})
	name := read(twin, "", anyText("the path of a file"))
	switch {
	case inline != "" && name != "":
		twin.fault("given beside %s; keep one of them", key)
	case strings.TrimSpace(inline) != inline:
		v.fault("begins or ends with white space; remove it, also from the environment variable if it comes from one")
	case inline != "":
		return NewSecret(inline)
	case name != "":
		if text, ok := twin.secretFile(name); ok {
			return NewSecret(text)
		}
	case required && !s.broken && !v.faulty() && !twin.faulty():
		v.fault("missing; want %s or %s_file", key, key)
	}
	return Secret{}
}

// secretFile returns the text of the file that v names, without white space around it: no service issues secrets with white
// space at their ends. A relative name is looked up in systemd's credentials, then beside the configuration file.
func (v value) secretFile(name string) (string, bool) {
	path := v.beside(name)
	if credentials, ok := v.lookupEnv("CREDENTIALS_DIRECTORY"); ok && credentials != "" && !filepath.IsAbs(name) {
		if inside := filepath.Join(credentials, name); exists(inside) {
			path = inside
		}
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		v.fault("want a regular file")
		return "", false
	}
	data, err := readFile(path, 64<<10)
	if err != nil {
		v.fault("cannot read the file: %v; a relative path begins in $CREDENTIALS_DIRECTORY or beside the configuration file", err)
		return "", false
	}
	data, err = utf8Text(data)
	text := strings.TrimSpace(string(data))
	unseen := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) && !unicode.IsControl(r) })
	switch {
	case err != nil:
		v.fault("%v", err)
	case text == "":
		v.fault("the file is empty; write the secret into it")
	case strings.ContainsFunc(text, unicode.IsControl):
		v.fault("the file holds more than a line of text; keep the secret to one line")
	case unseen >= 0:
		r, _ := utf8.DecodeRuneInString(text[unseen:])
		v.fault("the file holds %U, which editors do not show; type the secret instead of copying it, or remove that character", r)
	default:
		return text, true
	}
	return "", false
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// beside resolves a path against the directory of the configuration file.
func (d *decoder) beside(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(d.dir, path)
}
