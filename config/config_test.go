package config

import (
	"encoding/base64"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/robfig/cron/v3"
)

// minimal is the smallest configuration that loads.
const minimal = `organizations:
  - name: acme
    domain: mypurecloud.ie
    client_id: id
    client_secret: hunter2
    format: WAV
storage:
  region: eu-west-1
  bucket: recordings
`

// equal lets cmp compare a Config's secrets and zones.
var equal = cmp.Options{
	cmp.Comparer(func(a, b Secret) bool { return a.Reveal() == b.Reveal() }),
	cmp.Comparer(func(a, b *time.Location) bool { return a.String() == b.String() }),
	cmpopts.IgnoreUnexported(Config{}),
}

// folder writes files to a new directory and returns its path.
func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// testRoot returns a certificate in PEM.
func testRoot(t testing.TB) string {
	t.Helper()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
}

func environment(variables map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := variables[name]
		return value, ok
	}
}

func loadText(t testing.TB, text string, variables map[string]string) (*Config, error) {
	t.Helper()
	return Load(filepath.Join(folder(t, map[string]string{"archiverd.yaml": text}), "archiverd.yaml"), environment(variables))
}

func mustLoad(t testing.TB, text string, variables map[string]string) *Config {
	t.Helper()
	c, err := loadText(t, text, variables)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// faults returns the faults of a text, without the file's name.
func faults(t testing.TB, text string, variables map[string]string) []string {
	t.Helper()
	c, err := loadText(t, text, variables)
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*Error](err)
	if !ok || c != nil || len(e.Faults) == 0 {
		t.Fatalf("Load gave %v and %v, want nil and an *Error with faults", c, err)
	}
	var all []string
	for _, f := range e.Faults {
		all = append(all, strings.TrimPrefix(f.String(), ":"))
	}
	return all
}

func parsedCron(t testing.TB, text string, loc *time.Location) cron.Schedule {
	t.Helper()
	s, err := cron.ParseStandard(text)
	if err != nil {
		t.Fatal(err)
	}
	s.(*cron.SpecSchedule).Location = loc
	return s
}

func location(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func TestDefaults(t *testing.T) {
	dublin := location(t, "Europe/Dublin")
	want := &Config{
		Organizations: []Organization{{
			Name: "acme", Domain: "mypurecloud.ie", APIURL: "https://api.mypurecloud.ie", LoginURL: "https://login.mypurecloud.ie",
			ClientID: "id", ClientSecret: NewSecret("hunter2"), Grant: "authorization_code",
			RedirectURL: "http://127.0.0.1:8085/callback", DownloadAPI: "transcoding", Format: "WAV", PageSize: 100, RequestsPerMinute: 300,
		}},
		Storage: Storage{
			Region: "eu-west-1", Bucket: "recordings", Prefix: "genesys", Encryption: Encryption{Mode: "none"},
			ObjectLock: ObjectLock{Mode: "none", RetainFor: Period{Years: 7}}, Checksum: "auto",
		},
		State:           State{Path: "/var/lib/archiverd/archiverd.db", Claim: time.Minute},
		Schedule:        Schedule{Cron: "*/15 * * * *", Timezone: dublin, Parsed: parsedCron(t, "*/15 * * * *", dublin)},
		Transfer:        Transfer{Workers: 16, Memory: 128 << 20, MinAge: 10 * time.Minute},
		Passes:          16,
		DeleteOriginals: DeleteOriginals{After: 7 * 24 * time.Hour, MaxPerPass: 1000},
		HTTP:            HTTP{Listen: "127.0.0.1:9817", Page: true},
		ReportTimeout:   10 * time.Second,
		ShutdownGrace:   30 * time.Second,
		Log:             Log{Level: slog.LevelInfo, Format: "auto"},
	}
	if diff := cmp.Diff(want, mustLoad(t, minimal, nil), equal); diff != "" {
		t.Error(diff)
	}
}

const full = `---
organizations:
  - name: acme
    domain: mypurecloud.ie
    api_url: http://127.0.0.1:8080/replica/
    login_url: https://[::1]:8443
    client_id: "12345"
    client_secret_file: acme.secret
    grant: command
    redirect_url: https://archive.example.com/login/
    token_command: [bin/broker, "--page=${PAGE}", ""]
    roster_file: acme.csv
    download_api: media
    format: OGG_OPUS
    page_size: ${PAGE}
    requests_per_minute: 60
  - {name: beta-2, domain: USW2.pure.cloud, client_id: id, client_secret: "${SECRET}", format: NONE}
storage:
  endpoint: https://minio.internal:9000/
  region: garage
  bucket: Recordings.2
  prefix: archive/genesys=1
  path_style: true
  access_key_id: AKIA
  secret_access_key: "$${x}$y"
  encryption: {mode: "aws:kms", kms_key_id: "arn:aws:kms:eu-west-1:1:key/2"}
  object_lock: {mode: compliance, retain_for: 1y2d3h}
  storage_class: GLACIER_IR
  checksum: md5
state: {url: "postgres://archiverd@db.internal:5433/archiverd?sslmode=verify-full", password_file: db.secret, claim: 90s, key_file: seal.key}
schedule:
  cron: 30 2 * * mon-fri
  timezone: America/New_York
transfer: {workers: 1, memory: 8388608, bandwidth: 5MB, min_age: 0}
delete_originals: {enabled: "${DELETE}", after: 1y1d, max_per_pass: 1, unproved: true, read_back: true}
network:
  ca_file: roots.pem
  allow_links_to:
    - 10.1.2.3/8
    - Media.example.com
    - "::1"
http: {listen: ":80", page: false, pprof: true}
metrics: {textfile: metrics/archiverd.prom, push_url: "https://user:pass@push.example.com/base"}
heartbeat_url_file: heartbeat
report_timeout: 5s
shutdown_grace: 1m30s
passes: 4
log: {level: debug, format: json}
...
`

func loadFull(t testing.TB) (*Config, string) {
	t.Helper()
	dir := folder(t, map[string]string{
		"archiverd.yaml": full, "heartbeat": "https://ping.example.com/0c1e\n", "acme.secret": "from the configuration's folder", "roots.pem": testRoot(t),
		"acme.csv": "anna,anna@example.com\n", "db.secret": "hunter2\n",
		"seal.key": base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef")) + "\n",
	})
	credentials := folder(t, map[string]string{"acme.secret": "from systemd\r\n"})
	c, err := Load(filepath.Join(dir, "archiverd.yaml"), environment(map[string]string{
		"CREDENTIALS_DIRECTORY": credentials, "SECRET": "a: [b", "PAGE": "25", "DELETE": "true",
	}))
	if err != nil {
		t.Fatal(err)
	}
	return c, dir
}

func TestFull(t *testing.T) {
	got, dir := loadFull(t)
	newYork := location(t, "America/New_York")
	want := &Config{
		Organizations: []Organization{{
			Name: "acme", Domain: "mypurecloud.ie", APIURL: "http://127.0.0.1:8080/replica", LoginURL: "https://[::1]:8443",
			ClientID: "12345", ClientSecret: NewSecret("from systemd"), Grant: "command",
			RedirectURL: "https://archive.example.com/login/", TokenCommand: []string{filepath.Join(dir, "bin/broker"), "--page=25", ""},
			RosterFile: filepath.Join(dir, "acme.csv"), Roster: []RosterUser{{"anna", "anna@example.com"}}, DownloadAPI: "media", Format: "OGG_OPUS", PageSize: 25, RequestsPerMinute: 60,
		}, {
			Name: "beta-2", Domain: "usw2.pure.cloud", APIURL: "https://api.usw2.pure.cloud", LoginURL: "https://login.usw2.pure.cloud",
			ClientID: "id", ClientSecret: NewSecret("a: [b"), Grant: "authorization_code",
			RedirectURL: "http://127.0.0.1:8085/callback", DownloadAPI: "transcoding", Format: "NONE", PageSize: 100, RequestsPerMinute: 300,
		}},
		Storage: Storage{
			Endpoint: "https://minio.internal:9000", Region: "garage", Bucket: "Recordings.2", Prefix: "archive/genesys=1",
			PathStyle: true, AccessKeyID: "AKIA", SecretAccessKey: NewSecret("${x}$y"),
			Encryption:   Encryption{Mode: "aws:kms", KMSKeyID: "arn:aws:kms:eu-west-1:1:key/2"},
			ObjectLock:   ObjectLock{Mode: "compliance", RetainFor: Period{Years: 1, Rest: 51 * time.Hour}},
			StorageClass: "GLACIER_IR", Checksum: "md5",
		},
		State: State{
			URL: "postgres://archiverd@db.internal:5433/archiverd?sslmode=verify-full", Password: NewSecret("hunter2"), Claim: 90 * time.Second,
			SealKey: Key("0123456789abcdef0123456789abcdef"),
		},
		Schedule:        Schedule{Cron: "30 2 * * mon-fri", Timezone: newYork, Parsed: parsedCron(t, "30 2 * * mon-fri", newYork)},
		Transfer:        Transfer{Workers: 1, Memory: 8 << 20, Bandwidth: 5_000_000},
		Passes:          4,
		DeleteOriginals: DeleteOriginals{Enabled: true, After: 366 * 24 * time.Hour, MaxPerPass: 1, Unproved: true, ReadBack: true},
		Network:         Network{CAFile: filepath.Join(dir, "roots.pem"), AllowLinksTo: []string{"10.0.0.0/8", "media.example.com", "::1"}},
		HTTP:            HTTP{Listen: ":80", Pprof: true},
		Metrics:         Metrics{Textfile: filepath.Join(dir, "metrics/archiverd.prom"), PushURL: NewSecret("https://user:pass@push.example.com/base")},
		HeartbeatURL:    NewSecret("https://ping.example.com/0c1e"),
		ReportTimeout:   5 * time.Second,
		ShutdownGrace:   90 * time.Second,
		Log:             Log{Level: slog.LevelDebug, Format: "json"},
	}
	if diff := cmp.Diff(want, got, equal); diff != "" {
		t.Error(diff)
	}
}

// TestFullCoversEveryField fails if a new field is left at zero in TestFull.
func TestFullCoversEveryField(t *testing.T) {
	c, _ := loadFull(t)
	c.Transfer.MinAge++ // TestFull sets zero, to show that zero is allowed
	c.HTTP.Page = !c.HTTP.Page
	c.State.Path = "/x" // TestFull has a URL in its place
	var visit func(v reflect.Value, path string)
	visit = func(v reflect.Value, path string) {
		switch {
		case v.Kind() == reflect.Slice && v.Len() > 0 && v.Index(0).Kind() == reflect.Struct:
			visit(v.Index(0), path+"[0]")
		case v.Kind() == reflect.Struct && v.Type() != reflect.TypeFor[Secret]():
			for i := range v.NumField() {
				visit(v.Field(i), path+"."+v.Type().Field(i).Name)
			}
		case v.IsZero():
			t.Errorf("%s is zero", path)
		}
	}
	visit(reflect.ValueOf(*c), "Config")
}

const example = "../archiverd.example.yaml"

func exampleFiles(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	return folder(t, map[string]string{"archiverd.yaml": string(text), "acme.secret": "hunter2\n"})
}

// TestExample keeps the example file up to date: it loads, shows every key, and shows the default of every key not marked as an example.
func TestExample(t *testing.T) {
	c, d := load(filepath.Join(exampleFiles(t), "archiverd.yaml"), nil)
	if len(d.faults) > 0 {
		t.Fatal(d.faults)
	}
	for _, s := range d.sections {
		for _, key := range s.known {
			if !slices.Contains(s.keys, key) {
				t.Errorf("%s does not show %s", example, join(s.path, key))
			}
		}
	}
	want := mustLoad(t, strings.Replace(minimal, "client_id: id", "client_id: 0c1e8f5a-6d0b-4a53-9a4e-2f1f4ad3a7b9", 1), nil)
	if diff := cmp.Diff(want, c, equal); diff != "" {
		t.Errorf("%s shows values that are not the defaults (-default +shown):\n%s", example, diff)
	}
}

func TestScheduleKeepsItsZone(t *testing.T) {
	c := mustLoad(t, minimal+"schedule: {cron: 30 2 * * *, timezone: America/New_York}\n", nil)
	got := c.Schedule.Parsed.Next(time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC))
	if want := time.Date(2026, 7, 1, 6, 30, 0, 0, time.UTC); !got.Equal(want) {
		t.Errorf("next run is %v, want %v", got, want)
	}
}

func TestRegionDefaultsWithAnEndpoint(t *testing.T) {
	c := mustLoad(t, strings.Replace(minimal, "region: eu-west-1", "endpoint: http://minio:9000", 1), nil)
	if c.Storage.Region != "us-east-1" || c.Storage.Endpoint != "http://minio:9000" {
		t.Errorf("region %q, endpoint %q", c.Storage.Region, c.Storage.Endpoint)
	}
}

func TestURLsWithoutDomain(t *testing.T) {
	c := mustLoad(t, strings.Replace(minimal, "domain: mypurecloud.ie", "api_url: http://localhost:1\n    login_url: http://localhost:2", 1), nil)
	if o := c.Organizations[0]; o.APIURL != "http://localhost:1" || o.LoginURL != "http://localhost:2" || o.Domain != "" {
		t.Errorf("got %q, %q and domain %q", o.APIURL, o.LoginURL, o.Domain)
	}
}

// TestLayouts loads files in the layouts that editors and people produce.
func TestLayouts(t *testing.T) {
	want := mustLoad(t, minimal, nil)
	for name, text := range map[string]string{
		"byte order mark": "\ufeff" + minimal,
		"CRLF":            strings.ReplaceAll(minimal, "\n", "\r\n"),
		"header and end":  "# c\n---\n" + minimal + "...\n# end\n",
		"no last newline": strings.TrimSuffix(minimal, "\n"),
		"quoted keys":     strings.Replace(minimal, "  bucket:", `  "bucket":`, 1),
		"folded scalar":   strings.Replace(minimal, "bucket: recordings", "bucket: >-\n    recordings", 1),
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(want, mustLoad(t, text, nil), equal); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPaths(t *testing.T) {
	dir := folder(t, map[string]string{"archiverd.yaml": minimal + "state: {path: sub/../ledger.db}\n"})
	t.Chdir(dir)
	c, err := Load("archiverd.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "ledger.db"); c.State.Path != want {
		t.Errorf("state.path is %q, want %q", c.State.Path, want)
	}
}

func TestSecretFileBesideTheConfiguration(t *testing.T) {
	text := strings.Replace(minimal, "client_secret: hunter2", "client_secret_file: acme.secret", 1)
	dir := folder(t, map[string]string{"archiverd.yaml": text, "acme.secret": "beside\n"})
	credentials := folder(t, map[string]string{"other": ""})
	c, err := Load(filepath.Join(dir, "archiverd.yaml"), environment(map[string]string{"CREDENTIALS_DIRECTORY": credentials}))
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Organizations[0].ClientSecret.Reveal(); got != "beside" {
		t.Errorf("the secret is %q", got)
	}
}

// TestSecretAsEditorsWriteIt wants characters that a person does not see left out of the secret.
func TestSecretAsEditorsWriteIt(t *testing.T) {
	for name, text := range map[string]string{
		"nothing around it": "two words", "line end": "two words\n", "CRLF": "two words\r\n", "empty lines": "\n\ntwo words\n\n",
		"spaces": "  two words \t\n", "byte order mark": "\ufefftwo words\r\n", "no-break space": "two words\u00a0\n",
	} {
		t.Run(name, func(t *testing.T) {
			dir := folder(t, map[string]string{"archiverd.yaml": strings.Replace(minimal, "client_secret: hunter2", "client_secret_file: x", 1), "x": text})
			c, err := Load(filepath.Join(dir, "archiverd.yaml"), nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Organizations[0].ClientSecret.Reveal(); got != "two words" {
				t.Errorf("the secret is %q", got)
			}
		})
	}
}

// TestAbsoluteSecretFile wants an absolute path read as it is, even if the credentials hold a file of that path.
func TestAbsoluteSecretFile(t *testing.T) {
	dir := folder(t, map[string]string{"acme.secret": "absolute"})
	absolute := filepath.Join(dir, "acme.secret")
	credentials := t.TempDir()
	if err := os.MkdirAll(filepath.Join(credentials, dir), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(credentials, absolute), []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(minimal, "client_secret: hunter2", "client_secret_file: "+absolute, 1)
	c := mustLoad(t, text, map[string]string{"CREDENTIALS_DIRECTORY": credentials})
	if got := c.Organizations[0].ClientSecret.Reveal(); got != "absolute" {
		t.Errorf("the secret is %q", got)
	}
}
