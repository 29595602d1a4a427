package config

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func replaced(old, new string) string {
	if strings.Count(minimal, old) != 1 {
		panic("minimal has not one " + old)
	}
	return strings.Replace(minimal, old, new, 1)
}

// added returns minimal with text from line 10 on.
func added(text string) string { return minimal + text + "\n" }

// TestFaults checks place, path and wording of each fault.
func TestFaults(t *testing.T) {
	environment := map[string]string{"TEN": "ten", "EMPTY": "", "LINES": "a\nb"}
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"empty file", "", []string{"1:1: the file is empty; start from archiverd.example.yaml"}},
		{"comments only", "# nothing\n", []string{"1:1: the file is empty; start from archiverd.example.yaml"}},
		{"no mapping", "- a\n", []string{"1:1: want a mapping, such as organizations: …, got a list"}},
		{"nothing required", "log: {}", []string{
			"1:1: organizations: missing; want a list of at least one organization",
			"1:1: storage.bucket: missing; want a bucket of 3 to 63 of A-Z a-z 0-9 . _ and -, without folders: those go in prefix",
			"1:1: storage.region: missing; want the bucket's AWS region such as eu-west-1, or an endpoint",
		}},
		{"all at once", "storage:\n  bucket: a/b\norganizations:\n  - format: wav\n  - 5\n  -\n", []string{
			"1:1: storage.region: missing; want the bucket's AWS region such as eu-west-1, or an endpoint",
			`2:11: storage.bucket: want a bucket of 3 to 63 of A-Z a-z 0-9 . _ and -, without folders: those go in prefix, got "a/b"`,
			"4:5: organizations[0].client_id: missing; want the id of the OAuth client, without spaces",
			"4:5: organizations[0].client_secret: missing; want client_secret or client_secret_file",
			"4:5: organizations[0].domain: missing; want the bare domain of the region such as mypurecloud.ie, usw2.pure.cloud, or both api_url and login_url",
			"4:5: organizations[0].name: missing; want a name of 1 to 63 of a-z 0-9 and -",
			`4:13: organizations[0].format: want one of WAV, WEBM, WAV_ULAW, OGG_VORBIS, OGG_OPUS, MP3, NONE, got "wav"`,
			"5:5: organizations[1]: want a mapping, got a number",
			"6:5: organizations[2]: want a mapping, got nothing",
		}},
		{"no organizations", replaced(minimal[:strings.Index(minimal, "storage")], "organizations: []\n"),
			[]string{"1:16: organizations: want a list of at least one organization, got an empty list"}},
		{"organizations a mapping", replaced(minimal[:strings.Index(minimal, "storage")], "organizations: {name: acme}\n"),
			[]string{"1:16: organizations: want a list of at least one organization, got a mapping"}},
		{"unknown keys", added("shutdown_grce: 1s\nlog: {colour: true, Level: info}\nx y: 1"), []string{
			"10:1: shutdown_grce: unknown key; did you mean shutdown_grace?",
			"11:7: log.colour: unknown key; known here: level, format",
			"11:21: log.Level: unknown key; did you mean level?",
			"12:1: text that is long or has spaces: unknown key; known here: organizations, storage, state, schedule, transfer, passes, delete_originals, network, http, metrics, heartbeat_url, heartbeat_url_file, report_timeout, shutdown_grace, log",
		}},
		{"duplicate keys", added("log: {level: info}\nlog: {level: warn}\nstate: {path: /a, path: /b}"), []string{
			"11:1: log: given a second time, first on line 10; keep one",
			"12:19: state.path: given a second time, first on line 12; keep one",
		}},
		{"second document and more", added("lag: 1\n---\nlog: {}"), []string{
			"10:1: lag: unknown key; did you mean log?",
			"11:1: a second document begins here; keep one, without another --- or anything after ...",
		}},
		{"empty second document", added("---"), []string{"10:1: a second document begins here; keep one, without another --- or anything after ..."}},
		{"document after the end", added("...\nlog: {}"), []string{"11:1: a second document begins here; keep one, without another --- or anything after ..."}},
		{"document after an empty one", "---\n---\n" + minimal, []string{
			"1:1: the file is empty; start from archiverd.example.yaml",
			"2:1: a second document begins here; keep one, without another --- or anything after ...",
		}},
		{"anchor, alias, tag, merge", added("log: &l {level: info}\nstate: {path: !!str /x}\ntransfer:\n  workers: *w\nnetwork:\n  <<: {a: 1}"), []string{
			"10:6: text that begins with & needs quotes; YAML anchors are not supported",
			"11:15: text that begins with ! needs quotes; YAML tags are not supported",
			"13:12: text that begins with * needs quotes; YAML aliases are not supported",
			"15:3: YAML merge keys (<<) are not supported; write the values out",
		}},
		{"cron without quotes", added("schedule:\n  cron: */15 * * * *"), []string{"11:9: text that begins with * needs quotes; YAML aliases are not supported"}},
		{"directive", "%YAML 1.2\n---\n" + minimal, []string{"1:1: text that begins with % needs quotes; YAML directives are not supported"}},
		{"syntax", added("log: {level: info"), []string{"10:6: not valid YAML: could not find flow mapping end token '}'; check indentation and quotes"}},
		{"tab", added("log:\n\tlevel: info"), []string{"11:1: not valid YAML: found character '\\t' that cannot start any token; check indentation and quotes"}},
		{"variable in braces", added("log: {level: ${LEVEL}}"), []string{`10:15: not valid YAML: ',' or '}' must be specified; within {…} or […] write "${NAME}" with quotes`}},
		{"block header is not shown", replaced("hunter2", "|hunter2"), []string{"5:20: not valid YAML: invalid header option; check indentation and quotes"}},
		{"not UTF-8", added("log: \xff"), []string{"10:6: byte 0xff is not text; save the file as plain UTF-8"}},
		{"terminal escape", added("é: \x1b[31m"), []string{"10:4: byte 0x1b is not text; save the file as plain UTF-8"}},
		{"too deep", added("log: " + strings.Repeat("[", 500_000)), []string{"10:16: nested too deeply or too long for a configuration; remove what does not belong here"}},
		{"too deep in dashes", strings.Repeat("- ", 500_000), []string{"1:21: nested too deeply or too long for a configuration; remove what does not belong here"}},
		{"too many keys", strings.Repeat("a:\n", 30_000), []string{"25001:1: nested too deeply or too long for a configuration; remove what does not belong here"}},

		{"types", added("state: []\nlog:\ntransfer: {workers: ten, memory: true, bandwidth: [1], min_age: 5}\ndelete_originals: {enabled: yes, max_per_pass: 1.5}\nnetwork: {allow_links_to: a, ca_file: 7}"), []string{
			"10:8: state: want a mapping, got an empty list",
			"11:5: log: want a mapping, got nothing",
			`12:21: transfer.workers: want a whole number from 1 to 256, got "ten"`,
			`12:34: transfer.memory: want a size such as 128MiB, 500KB, of at least 8MiB, got "true"`,
			"12:51: transfer.bandwidth: want a size such as 128MiB, 500KB, of at least 0, got a list",
			`12:65: transfer.min_age: want a duration such as 10m, 7d, of at least 0, got "5"`,
			`13:29: delete_originals.enabled: want true or false, got "yes"`,
			`13:48: delete_originals.max_per_pass: want a whole number from 1 to 1000000000, got "1.5"`,
			"14:27: network.allow_links_to: want a list of hosts and CIDRs, got text",
			"14:39: network.ca_file: want the path of a PEM file, got a number; put it in quotes",
		}},
		{"quoted number and bool", added("transfer: {workers: \"8\"}\ndelete_originals: {enabled: 'true'}"), []string{
			`10:21: transfer.workers: want a whole number from 1 to 256, got "8"`,
			`11:29: delete_originals.enabled: want true or false, got "true"`,
		}},
		{"ranges", added("transfer: {workers: 0, memory: 8388607, bandwidth: -1, min_age: -1s}\ndelete_originals: {after: -7d, max_per_pass: 0}\nshutdown_grace: 101y"), []string{
			`10:21: transfer.workers: want a whole number from 1 to 256, got "0"`,
			`10:32: transfer.memory: want a size such as 128MiB, 500KB, of at least 8MiB, got "8388607"`,
			`10:52: transfer.bandwidth: want a size such as 128MiB, 500KB, of at least 0, got "-1"`,
			`10:65: transfer.min_age: want a duration such as 10m, 7d, of at least 0, got "-1s"`,
			`11:27: delete_originals.after: want a duration such as 10m, 7d, of at least 0, got "-7d"`,
			`11:46: delete_originals.max_per_pass: want a whole number from 1 to 1000000000, got "0"`,
			`12:17: shutdown_grace: want a duration such as 10m, 7d, of at least 0, got "101y"`,
		}},
		{"more ranges", replaced("format: WAV", "format: WAV\n    page_size: 501\n    requests_per_minute: 3001"), []string{
			`7:16: organizations[0].page_size: want a whole number from 1 to 500, got "501"`,
			`8:26: organizations[0].requests_per_minute: want a whole number from 1 to 3000, got "3001"`,
		}},
		{"choices", added("log: {level: trace, format: xml}"), []string{
			`10:14: log.level: want one of debug, info, warn, error, got "trace"`,
			`10:29: log.format: want one of auto, text, json, got "xml"`,
		}},
		{"schedule", added("schedule:\n  cron: 61 * * * *\n  timezone: Europe/Dublyn"), []string{
			`11:9: schedule.cron: want a cron expression of five fields such as "*/15 * * * *", or "@hourly", got text that is long or has spaces`,
			`12:13: schedule.timezone: want a time zone such as Europe/Dublin, UTC, got "Europe/Dublyn"`,
		}},
		{"cron that never comes", added("schedule: {cron: 0 0 30 2 *}"), []string{
			`10:18: schedule.cron: want a cron expression of five fields such as "*/15 * * * *", or "@hourly", got text that is long or has spaces`}},
		{"cron with a zone", added(`schedule: {cron: "TZ="}`), []string{
			`10:18: schedule.cron: want a cron expression of five fields such as "*/15 * * * *", or "@hourly", got "TZ="`}},

		{"organization's hosts", replaced("domain: mypurecloud.ie", "domain: api.mypurecloud.ie\n    api_url: ftp://x\n    login_url: https://u:hunter2@x"), []string{
			`3:13: organizations[0].domain: want the bare domain of the region such as mypurecloud.ie, usw2.pure.cloud, got "api.mypurecloud.ie"`,
			"4:14: organizations[0].api_url: want a URL such as https://host or http://host:9000/base, without user, query or fragment",
			"5:16: organizations[0].login_url: want a URL such as https://host or http://host:9000/base, without user, query or fragment",
		}},
		{"command without its keys", replaced("format: WAV", "format: WAV\n    grant: command"), []string{
			"2:5: organizations[0].roster_file: missing; want the path of a CSV file with the ids and e-mail addresses of the users whose inboxes are archived",
			"2:5: organizations[0].token_command: missing; want a list of a program and its arguments, which is run with a user id and prints that user's token",
		}},
		{"command keys without it", replaced("format: WAV", "format: WAV\n    token_command: [broker]\n    roster_file: x"), []string{
			"7:20: organizations[0].token_command: has no effect with grant authorization_code; set grant: command or remove it",
			"8:18: organizations[0].roster_file: cannot read the roster: no such file or directory; a relative path begins beside the configuration file",
		}},
		{"command of other types", replaced("format: WAV", "format: WAV\n    grant: comand\n    token_command: [broker, 7]\n    redirect_url: 127.0.0.1:8085"), []string{
			`7:12: organizations[0].grant: want one of authorization_code, client_credentials, command, got "comand"`,
			"8:29: organizations[0].token_command[1]: want text, got a number; put it in quotes",
			"9:19: organizations[0].redirect_url: want a redirect URL such as https://host or http://host:9000/base, without user, query or fragment",
		}},
		{"one URL alone", replaced("domain: mypurecloud.ie", "api_url: http://localhost"), []string{
			"2:5: organizations[0].domain: missing; want the bare domain of the region such as mypurecloud.ie, usw2.pure.cloud, or both api_url and login_url"}},
		{"one name twice", replaced("storage:", "  - {name: acme, domain: mypurecloud.de, client_id: a, client_secret: b, format: MP3}\nstorage:"),
			[]string{"7:12: organizations[1].name: organizations[0] has the same name; give each its own"}},
		{"names", replaced("name: acme", "name: Acme_Corp"), []string{`2:11: organizations[0].name: want a name of 1 to 63 of a-z 0-9 and -, got "Acme_Corp"`}},
		{"a forgotten colon's secret is not shown", "organizations:\n  - name: acme\n      client_secret hunter2\n", []string{
			"1:1: storage.bucket: missing; want a bucket of 3 to 63 of A-Z a-z 0-9 . _ and -, without folders: those go in prefix",
			"1:1: storage.region: missing; want the bucket's AWS region such as eu-west-1, or an endpoint",
			"2:5: organizations[0].client_id: missing; want the id of the OAuth client, without spaces",
			"2:5: organizations[0].client_secret: missing; want client_secret or client_secret_file",
			"2:5: organizations[0].domain: missing; want the bare domain of the region such as mypurecloud.ie, usw2.pure.cloud, or both api_url and login_url",
			"2:5: organizations[0].format: missing; want one of WAV, WEBM, WAV_ULAW, OGG_VORBIS, OGG_OPUS, MP3, NONE",
			"2:11: organizations[0].name: want a name of 1 to 63 of a-z 0-9 and -, got text that is long or has spaces",
		}},

		{"storage", replaced("bucket: recordings", "bucket: s3://recordings\n  endpoint: minio:9000\n  prefix: /genesys\n  path_style: 1\n  storage_class: GLACIER\n  checksum: crc32"), []string{
			`9:11: storage.bucket: want a bucket of 3 to 63 of A-Z a-z 0-9 . _ and -, without folders: those go in prefix, got "s3://recordings"`,
			"10:13: storage.endpoint: want the store's URL such as https://host or http://host:9000/base, without user, query or fragment",
			`11:11: storage.prefix: want a prefix such as genesys or archive/genesys: at most 200 of A-Z a-z 0-9 . _ = - and single slashes within, got "/genesys"`,
			`12:15: storage.path_style: want true or false, got "1"`,
			`13:18: storage.storage_class: want one of "", STANDARD, STANDARD_IA, ONEZONE_IA, INTELLIGENT_TIERING, GLACIER_IR, REDUCED_REDUNDANCY, EXPRESS_ONEZONE, got "GLACIER"`,
			`14:13: storage.checksum: want one of auto, md5, got "crc32"`,
		}},
		{"encryption and lock", replaced("bucket: recordings", "bucket: recordings\n  encryption: {mode: AES256, kms_key_id: k}\n  object_lock: {mode: legal, retain_for: 0s}"), []string{
			"10:42: storage.encryption.kms_key_id: has no effect in mode AES256; set mode: aws:kms or remove it",
			`11:23: storage.object_lock.mode: want one of none, governance, compliance, got "legal"`,
			`11:42: storage.object_lock.retain_for: want a period such as 7y, 90d, of more than 0 and at most 100y, got "0s"`,
		}},
		{"half of the credentials", replaced("bucket: recordings", "bucket: recordings\n  access_key_id: AKIA"), []string{
			"7:1: storage.secret_access_key: missing; want secret_access_key or secret_access_key_file"}},
		{"the other half", replaced("bucket: recordings", "bucket: recordings\n  secret_access_key: hunter2"), []string{
			"7:1: storage.access_key_id: missing beside secret_access_key; give both, or neither for the AWS default credential chain"}},
		{"links", added("network:\n  allow_links_to: [10.0.0.0/33, https://x, 300.1.1.1, a b, \"fe80::1%eth0\", ok.example]"), []string{
			`11:20: network.allow_links_to[0]: want a host or CIDR such as media.example.com, 10.20.0.0/16, got "10.0.0.0/33"`,
			`11:33: network.allow_links_to[1]: want a host or CIDR such as media.example.com, 10.20.0.0/16, got "https://x"`,
			`11:44: network.allow_links_to[2]: want a host or CIDR such as media.example.com, 10.20.0.0/16, got "300.1.1.1"`,
			`11:55: network.allow_links_to[3]: want a host or CIDR such as media.example.com, 10.20.0.0/16, got text that is long or has spaces`,
			`11:60: network.allow_links_to[4]: want a host or CIDR such as media.example.com, 10.20.0.0/16, got "fe80::1%eth0"`,
		}},

		{"variables", added("log:\n  level: ${NOT_SET}${NOR_THIS}\n  format: ${1X}\nshutdown_grace: ${TEN}\ntransfer:\n  workers: ${TEN}\n  memory: ${EMPTY}\nstate: {path: \"${LINES}\"}"), []string{
			"11:10: log.level: the environment variable NOT_SET is not set; set it, or for a literal ${ write $${",
			"11:10: log.level: the environment variable NOR_THIS is not set; set it, or for a literal ${ write $${",
			"12:11: log.format: want a variable such as ${NAME}; for a literal ${ write $${",
			`13:17: shutdown_grace: want a duration such as 10m, 7d, of at least 0, got "${TEN}"`,
			`15:12: transfer.workers: want a whole number from 1 to 256, got "${TEN}"`,
			`16:11: transfer.memory: want a size such as 128MiB, 500KB, of at least 8MiB, got "${EMPTY}"`,
			"17:15: state.path: holds a line break or another control character; keep it to one line of text",
		}},
		{"open variable", replaced("hunter2", "${TEN"), []string{"5:20: organizations[0].client_secret: want a variable such as ${NAME}; for a literal ${ write $${"}},
		{"empty secret", replaced("hunter2", "${EMPTY}"), []string{"5:20: organizations[0].client_secret: missing; want client_secret or client_secret_file"}},
		{"secret with a space", replaced("hunter2", `"hunter2 "`), []string{
			"5:20: organizations[0].client_secret: begins or ends with white space; remove it, also from the environment variable if it comes from one"}},
		{"secret of another type", replaced("hunter2", "4711"), []string{"5:20: organizations[0].client_secret: want a secret in text, got a number; put it in quotes"}},
		{"secret twice", replaced("client_secret: hunter2", "client_secret: hunter2\n    client_secret_file: x"), []string{
			"6:25: organizations[0].client_secret_file: given beside client_secret; keep one of them"}},
		{"no secret file", replaced("client_secret: hunter2", "client_secret_file: x"), []string{
			"5:25: organizations[0].client_secret_file: cannot read the file: no such file or directory; a relative path begins in $CREDENTIALS_DIRECTORY or beside the configuration file"}},
		{"secret file a folder", replaced("client_secret: hunter2", "client_secret_file: ."), []string{
			"5:25: organizations[0].client_secret_file: want a regular file"}},
		{"secret file endless", replaced("client_secret: hunter2", "client_secret_file: /dev/zero"), []string{
			"5:25: organizations[0].client_secret_file: want a regular file"}},
		{"no CA file", added("network: {ca_file: x}"), []string{
			"10:20: network.ca_file: cannot read the file: no such file or directory; a relative path begins beside the configuration file"}},
		{"watching", added("http: {listen: 9817, pprof: 1}\nmetrics: {textfile: a.txt, push_url: 'ftp://hunter2@x'}\nheartbeat_url: hunter2\nreport_timeout: 0.9s"), []string{
			`10:16: http.listen: want an address such as 127.0.0.1:9817 or :9817, or "" for none, got a number; put it in quotes`,
			`10:29: http.pprof: want true or false, got "1"`,
			`11:21: metrics.textfile: want the path of a file that ends in .prom, got "a.txt"`,
			"11:38: metrics.push_url: want an http or https URL",
			"12:16: heartbeat_url: want an http or https URL",
			`13:17: report_timeout: want a duration such as 10s, 1m, of at least 1s, got "0.9s"`}},
		{"ledger twice", added("state: {path: /a, url: 'postgres:///db'}"), []string{
			"10:24: state.url: given beside path; keep one of them: path keeps the ledger in a file, url in a PostgreSQL database"}},
		{"password in the URL", added("state: {url: 'postgres://u:hunter2@h/db', claim: 9s}"), []string{
			"10:14: state.url: want a URL such as postgres://user@host/database?sslmode=verify-full, without a password: that goes in password_file",
			`10:50: state.claim: want a duration such as 10s, 1m, of at least 10s, got "9s"`}},
		{"password in the query", added("state: {url: 'postgresql://h/db?password=hunter2'}"), []string{
			"10:14: state.url: want a URL such as postgres://user@host/database?sslmode=verify-full, without a password: that goes in password_file"}},
		{"password that Go's queries leave out", added("state: {url: 'postgresql://h/db?password=hunter;2'}"), []string{
			"10:14: state.url: want a URL such as postgres://user@host/database?sslmode=verify-full, without a password: that goes in password_file"}},
		{"another database", added("state: {url: 'mysql://h/db'}"), []string{
			"10:14: state.url: want a URL such as postgres://user@host/database?sslmode=verify-full, without a password: that goes in password_file"}},
		{"password without database", added("state: {password: hunter2}"), []string{
			"10:1: state.url: missing beside password; want the URL of a PostgreSQL database, or no password"}},
		{"listen nowhere", added("http: {listen: 'host:port'}"), []string{
			`10:16: http.listen: want an address such as 127.0.0.1:9817 or :9817, or "" for none, got "host:port"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, faults(t, tt.text, environment)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestFileFaults checks the faults in files that the configuration names.
func TestFileFaults(t *testing.T) {
	withSecret := replaced("client_secret: hunter2", "client_secret_file: x")
	withKey, withCA := added("state: {key_file: x}"), added("network: {ca_file: x}")
	const secretFault = "archiverd.yaml:5:25: organizations[0].client_secret_file: "
	const badKey = "archiverd.yaml:10:19: state.key_file: want a file with 32 random bytes in base64; make one with: openssl rand -base64 32"
	for _, tt := range []struct{ name, text, file, want string }{
		{"empty secret", withSecret, "\n", "archiverd.yaml:5:25: organizations[0].client_secret_file: the file is empty; write the secret into it"},
		{"two lines", withSecret, "hunter2\nhunter3\n", "archiverd.yaml:5:25: organizations[0].client_secret_file: the file holds more than a line of text; keep the secret to one line"},
		{"secret in UTF-16", withSecret, "\xff\xfeh\x00", secretFault + "the file is UTF-16: save it as UTF-8"},
		{"secret in UTF-16 without a mark", withSecret, "h\x00u\x00", secretFault + "the file is UTF-16: save it as UTF-8"},
		{"secret in Latin-1", withSecret, "h\xfcnter", secretFault + "the file is not UTF-8 text: save it as UTF-8"},
		{"copied secret", withSecret, "hun\u200bter2", secretFault + "the file holds U+200B, which editors do not show; type the secret instead of copying it, or remove that character"},
		{"spaces alone", withSecret, "\ufeff \t\r\n", secretFault + "the file is empty; write the secret into it"},
		{"configuration in UTF-16", "\xff\xfeo\x00r\x00", "", "archiverd.yaml:1:1: the file is UTF-16: save it as UTF-8"},
		{"large secret", withSecret, strings.Repeat("x", 64<<10+1), "archiverd.yaml:5:25: organizations[0].client_secret_file: cannot read the file: larger than 64 KiB; a relative path begins in $CREDENTIALS_DIRECTORY or beside the configuration file"},
		{"short key", withKey, base64.StdEncoding.EncodeToString(make([]byte, 31)), badKey},
		{"raw key", withKey, "0123456789abcdef0123456789abcdef", badKey},
		{"no PEM", withCA, "hunter2", "archiverd.yaml:10:20: network.ca_file: want a file with certificates in PEM"},
		{"large file", added("# " + strings.Repeat("x", 1<<20)), "", "archiverd.yaml: cannot read the configuration file: larger than 1024 KiB; name another with --config"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Chdir(folder(t, map[string]string{"archiverd.yaml": tt.text, "x": tt.file}))
			_, err := Load("archiverd.yaml", nil)
			if err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestUnreadableConfiguration(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		filepath.Join(dir, "none.yaml"): ": cannot read the configuration file: no such file or directory; name another with --config",
		dir:                             ": cannot read the configuration file: is a directory; name another with --config",
		"":                              ": cannot read the configuration file: no such file or directory; name another with --config",
	} {
		if _, err := Load(path, nil); err == nil || err.Error() != path+want {
			t.Errorf("%q: got %v", path, err)
		}
	}
}

// TestLargestFile loads a file of the largest size.
func TestLargestFile(t *testing.T) {
	mustLoad(t, minimal+"#"+strings.Repeat("x", 1<<20-len(minimal)-1), nil)
}

// TestFaultsHideSecrets provokes a fault at every value in turn, and fails if a fault shows a secret.
func TestFaultsHideSecrets(t *testing.T) {
	const canary = "canary-5b1f" // as variable, secret, folder and file content
	credentials := filepath.Join(t.TempDir(), canary)
	if err := os.Mkdir(credentials, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(credentials, "f"), []byte(canary+"\n"+canary), 0o600); err != nil {
		t.Fatal(err)
	}
	variables := map[string]string{"V": canary, "N": canary + "\n", "CREDENTIALS_DIRECTORY": credentials}
	text, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		key, _, isKey := strings.Cut(line, ":")
		if !isKey || strings.HasPrefix(line, "#") || strings.HasSuffix(key, "name") {
			continue
		}
		for _, value := range []string{`"${V}"`, `"${N}"`, `"x ${V} ${NOT_SET}"`, `["${V}"]`, "f", `"${V}/f"`} {
			changed := append([]string(nil), lines...)
			changed[i] = key + ": " + value
			_, err := loadText(t, strings.Join(changed, "\n"), variables)
			if err == nil { // the example's own acme.secret is missing
				t.Fatalf("%q gave no fault", changed[i])
			}
			if strings.Contains(err.Error(), canary) {
				t.Errorf("%q: %v", changed[i], err)
			}
		}
	}
	for _, value := range []string{canary, `"` + canary + "\x00" + `"`, `"` + canary, "|" + canary, "[" + canary, "{" + canary + ": x}", "*" + canary, "&" + canary, "!" + canary + " x", canary + ": x", "'" + canary + "' x", `"` + canary + `\n"`} {
		text := "storage: {}\n" + replaced("hunter2", value)
		if all := strings.Join(faults(t, text, nil), "\n"); all == "" || strings.Contains(all, canary) {
			t.Errorf("%q: %v", value, all)
		}
	}
}

func TestUnpanicked(t *testing.T) {
	if _, err := unpanicked(func() (int, error) { panic("hunter2") }); err == nil || err.Error() != "not understood" {
		t.Errorf("a panic became %v", err)
	}
	if n, err := unpanicked(func() (int, error) { return 1, nil }); n != 1 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
}
