package integration_test

import (
	"fmt"
	"strings"
)

// The tables of docs/stores.md, by the headings above them.
const (
	doTable     = "What stores do"
	triedTable  = "What was tried"
	setTable    = "What each needs"
	lackTable   = "What archiverd does where something is missing"
	sourceTable = "Sources"
)

// storeNames are the servers that the tests can run, as the page names them.
var storeNames = map[string]string{
	"minio": "MinIO", "versitygw": "versitygw", "ceph-rgw": "Ceph RGW 16", "seaweedfs": "SeaweedFS",
}

// rows are a table's cells by the name in the first column.
type rows map[string][]string

// storeTables reads the tables of the page.
func storeTables(page string) map[string]rows {
	tables := map[string]rows{doTable: {}, triedTable: {}}
	heading := ""
	for line := range strings.Lines(page) {
		line = strings.TrimSuffix(line, "\n")
		if h, ok := strings.CutPrefix(line, "## "); ok {
			heading = h
		}
		if cells := strings.Split(strings.Trim(line, "| "), " | "); tables[heading] != nil && len(cells) > 1 {
			tables[heading][cells[0]] = cells[1:]
		}
	}
	return tables
}

const storesIntro = `# Stores

archiverd works with any store that speaks S3, but stores differ in what they promise. This page says what archiverd depends on, and what
it does if a store lacks that. ` + "`archiverd doctor`" + ` tests the same on your own bucket: trust the doctor rather than this page.

` + "`make stores`" + ` runs MinIO, versitygw, Ceph's object gateway and SeaweedFS, tries each of them and writes the first two tables; ` + "`make test`" + `
does so for MinIO and versitygw and fails where the page says something else. Their versions are those in the Makefile, and Debian's of
Ceph (16.2). A star marks a store that could not be run: its row repeats what its documentation promises, untested.
`

// documented are the rows of what could not be run.
var documented = []string{
	"| AWS S3 * | yes | yes | yes | yes | yes | yes | yes | yes | yes |",
	"| Cloudflare R2 * | yes | yes | Content-MD5; no CRC-32 of a whole upload | not documented | no: rules of its own, for a bucket | no | no | yes | no |",
	"| Backblaze B2 * | no: reported as refused (501) | no: reported as refused (501) | headers reported as refused in places | no | yes | yes | yes | yes | not documented for HEAD |",
	"| Wasabi * | not documented | not documented | not documented | not documented | yes | yes | yes | yes | not documented for HEAD |",
	"| GCS, interoperability * | no: by a header of its own | no: replaces what is there | Content-MD5 | no: in a header of its own | no: by headers of its own | no | no: generations | rules of another form | no |",
}

const storesSettings = `
| store | settings, and what else to know |
|---|---|
| all | For locks, create the bucket with Object Lock. [install.md](install.md#the-bucket) has the user's policy. A lifecycle rule should abort unfinished uploads |
| AWS S3 | ` + "`region`" + ` |
| MinIO | ` + "`endpoint`, `path_style: true`" + ` |
| SeaweedFS | ` + "`endpoint`, `path_style: true`" + `. It announces no expiry: no rule may expire the archive |
| versitygw | ` + "`endpoint`, `path_style: true`" + `; started with ` + "`--versioning-dir`" + `, without which there are neither versions nor locks. A hold ends with the lock: retain what is held for long enough, too. What is written over a delete marker stays hidden. It knows no lifecycle rules: abort unfinished uploads yourself |
| Ceph RGW 16 | ` + "`endpoint`, `path_style: true`, `checksum: md5`" + `: it compares Content-MD5, and takes no notice of other checksums. Doctor fails for create_only, but archiverd works: never let two of them write to one bucket and prefix. Recordings that come in parts are locked a moment after they were stored. Where versions are kept, each run leaves a few more below ` + "`{prefix}/doctor/`" + ` |
| Cloudflare R2 * | ` + "`endpoint`, `region: auto`, `checksum: md5`, `object_lock: {mode: none}`" + `; set a bucket lock rule in R2 for media, manifests and journal |
| Backblaze B2 * | not to be used while it refuses ` + "`If-None-Match`" + `: every write fails |
| Wasabi * | ` + "`endpoint`, `region`" + `; run doctor first, and where it finds the checksum headers refused, set ` + "`checksum: md5`" + ` |
| GCS, interoperability * | not recommended: a second create replaces the first, and locks can't be asked for. At least ` + "`endpoint: https://storage.googleapis.com`, `checksum: md5`, `object_lock: {mode: none}`" + `, versions on, and a retention policy on the bucket |
`

const storesLacks = `
| missing | then |
|---|---|
| create-only writes | Each key is checked before each write. (Where a second create is refused, one listing of the bucket says which keys are free, and the write itself decides.) Everything is read back after it was written, and media again before their original is deleted. Two writers at the same time could still replace each other's object: doctor fails (exit code 6). If the bucket keeps versions, the replaced one stays |
| create-only writes in parts, alone | The key is checked before each upload, as on every store. Two uploads at the same time could still replace each other's object: doctor fails (exit code 6) |
| create-only writes, but refused with 501 | Every write fails, and says that the store can't be used |
| checksums compared | Everything is read back after it was written, and media again before their original is deleted. Doctor warns |
| checksums shown | The same: if HEAD shows no checksum, the object is read back |
| checksum headers: the store refuses them | The run ends with exit code 2, and says: set ` + "`storage.checksum`" + ` to md5. Then Content-MD5 is sent instead, and everything is read back |
| Object Lock | With ` + "`object_lock.mode: none`" + ` nothing changes. With another mode the run ends with exit code 2: nothing counts as archived without the configured lock |
| Object Lock, of what came in parts | The lock is set once the object is there, and read back. Until that is done the recording does not count as archived |
| holds | ` + "`archiverd hold`" + ` is refused, and doctor says so |
| holds that outlast the lock | Who may delete can delete a held version once its lock has ended: retain what is held for long enough. ` + "`erase` and `dispose`" + ` look at the hold before each removal |
| versions | What somebody overwrites or deletes is gone, and ` + "`verify`" + ` reports it. Doctor warns, and fails if a lock is configured |
| lifecycle rules | Doctor warns that it can't read them. The next runs abort unfinished uploads that archiverd knows; others stay |
| lifecycle: an expiry that is not announced | Doctor reads the rules and fails if one would expire the archive; a run does not notice |
| retention read back | The run ends with exit code 2: archiverd counts nothing as archived whose lock it can't see. An older version exists only if somebody else overwrote the object; for that, doctor asks for the lock itself |
`

const storesSources = `
The rows with a star are from: Amazon S3 User Guide (conditional writes; checking object integrity; Object Lock; managing the lifecycle);
Cloudflare R2 docs (S3 API compatibility; conditional operations; bucket locks); Backblaze API docs (S3 Put Object, Head Object,
Object Retention, Legal Hold, Lifecycle Configuration; S3-compatible API, unsupported features) and, where it says reported, public bug
reports; Wasabi S3 API Reference (object lock; versioning; operations on buckets); Google Cloud Storage docs (XML API: PUT object,
multipart uploads, request preconditions, headers).
`

// storesText is the page.
func storesText(tables map[string]rows) string {
	var b strings.Builder
	b.WriteString(storesIntro)
	fmt.Fprintf(&b, "\n## %s\n\n%s", doTable, `| store | create-only | in parts | checksums compared | shown | Object Lock | hold | versions | lifecycle | retention read back |
|---|---|---|---|---|---|---|---|---|---|
`)
	for _, name := range triedNames() {
		writeRow(&b, name, tables[doTable][name])
	}
	b.WriteString(strings.Join(documented, "\n") + "\n")
	fmt.Fprintf(&b, "\n## %s\n\nAn inbox of %d recordings, a few of bytes, most small, some in parts, with the settings below and deletions on; then `verify --read` and `reconcile`. All locks are compliance.\n\n%s", triedTable, manyRecordings,
		`| store | without locks | with locks | doctor, without locks | doctor, with locks |
|---|---|---|---|---|
`)
	for _, name := range triedNames() {
		writeRow(&b, name, tables[triedTable][name])
	}
	for _, section := range []struct{ heading, text string }{{setTable, storesSettings}, {lackTable, storesLacks}, {sourceTable, storesSources}} {
		fmt.Fprintf(&b, "\n## %s\n%s", section.heading, section.text)
	}
	return b.String()
}

func triedNames() []string {
	return []string{storeNames["minio"], storeNames["versitygw"], storeNames["ceph-rgw"], storeNames["seaweedfs"]}
}

func writeRow(b *strings.Builder, name string, cells []string) {
	fmt.Fprintf(b, "| %s | %s |\n", name, strings.Join(cells, " | "))
}
