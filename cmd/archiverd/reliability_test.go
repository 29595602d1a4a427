package main

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/archiverd/archiverd/integration_test/faults"
)

var update = flag.Bool("update", false, "write docs/reliability.md anew")

// reliabilityPage is what operators read.
const reliabilityPage = "../../docs/reliability.md"

// wantReliability compares the page with the results of the cells. A test run that left
// cells out compares nothing.
func wantReliability(t *testing.T, rows []faultRow) {
	for _, r := range rows {
		if !r.ran {
			return
		}
	}
	page := reliability(rows)
	if *update {
		if err := os.WriteFile(reliabilityPage, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(reliabilityPage)
	if err != nil {
		t.Fatal(err)
	}
	if d := gocmp.Diff(string(have), page); d != "" {
		t.Errorf("docs/reliability.md is not what the cells showed; look at each difference, then run make reliability: -page +shown\n%s", d)
	}
}

const reliabilityIntro = `# What happens when something fails

Everything that can fail between archiverd, Genesys, the store and the ledger was made to fail: %d failures in %d runs. In each of them
every recording ended up in the bucket exactly as Genesys served it, once, with its manifest, and only then its original was deleted;
nothing was overwritten, and no token left its host.

%s

Each cell shows the exit codes of a run in which one request fails / all such requests fail. Below them is the run that had everything
archived at the latest, counted from the end of the failure, and the run that had all originals deleted where that is another one.

`

const reliabilityLegend = `
| exit code | who repairs |
|---|---|
| 0 | the run itself |
| 3, 5 | archiverd: the run that the cell names. "login": the user has to log in first |
| 1, 2, 4 | a person sets right what the message names: the disk, the configuration, a right. Then as for 3 and 5 |
| 6 | archiverd as for 3 and 5, under another key if need be; a person finds out what wrote or altered the object that the run names |

[operate.md](operate.md#exit-codes) has the exit codes.

## How each row was run

` + "`make reliability`" + ` runs every row and writes this page; ` + "`make test`" + ` fails where the two differ. The rows are data, in
integration_test/faults; some of them are run again with the real binary against real stores.

Two recordings wait in an inbox, and deletion of originals is on without any delay. A run meets the failure, once for a single request
("one request") and once for every such request ("all requests"). Then the failure is lifted, and the next runs follow after a minute, a
quarter of an hour, an hour, two hours and a day. The last column says which run had everything archived and, where that took longer, all
originals deleted.

Not in the table, since nobody can detect it: audio altered on the way by someone who breaks TLS. Genesys gives no checksum of a
recording; archiverd checks size, format and duration.
`

// reliability makes the page.
func reliability(rows []faultRow) string {
	var b strings.Builder
	b.WriteString(summary(rows) + reliabilityLegend)
	action := ""
	for _, group := range grouped(rows) {
		first := group[0]
		if first.Action.Name != action {
			action = first.Action.Name
			fmt.Fprintf(&b, "\n## %s\n\n| what goes wrong | one request | all requests | then repaired by |\n|---|---|---|---|\n", capital(action))
		}
		var names []string
		for _, r := range group {
			names = append(names, r.Form.Name)
		}
		once, lasting, repaired := first.texts()
		fmt.Fprintf(&b, "| *%s:* %s | %s | %s | %s |\n", first.Class, strings.Join(names, "; "), once, lasting, repaired)
	}
	return b.String()
}

// classes are the rows of the summary, with examples for who does not know the words.
var classes = []struct {
	class    faults.Class
	examples string
}{
	{faults.Refused, "no connection, 400, disk full"},
	{faults.Reset, "connection reset"},
	{faults.Lost, "it happened, nobody said so"},
	{faults.Cut, "connection closed half way"},
	{faults.Wrong, "a page of HTML, half of the media"},
	{faults.Stalled, "no reply, or it stops"},
	{faults.Wait, "429, 503 with Retry-After"},
	{faults.Gone, "404"},
	{faults.Forbidden, "403, 401"},
	{faults.Expired, "a token, a link"},
	{faults.Failing, "500, 502, 503, 504"},
	{faults.NotDone, "202, and nothing happens"},
}

// summary is the first screen of the page: each class of failure by each service.
func summary(rows []faultRow) string {
	var b strings.Builder
	b.WriteString("| what fails | Genesys' API | Genesys' login | media host | store | ledger |\n|---|---|---|---|---|---|\n")
	for _, c := range classes {
		fmt.Fprintf(&b, "| *%s:* %s", c.class, c.examples)
		for _, side := range []faults.Side{faults.API, faults.Login, faults.MediaHost, faults.Storage, faults.Ledger} {
			of := slices.DeleteFunc(slices.Clone(rows), func(r faultRow) bool { return r.Class != c.class || r.On != side })
			b.WriteString(" | " + failureSums(of))
		}
		b.WriteString(" |\n")
	}
	runs, self, next, login := 0, 0, 0, 0
	for _, r := range rows {
		for _, c := range r.results() {
			runs++
			switch {
			case c.login:
				login++
			case c.deleted == sameRun:
				self++
			case c.deleted == laterRuns[0].name:
				next++
			}
		}
	}
	counts := fmt.Sprintf("After %d of the runs nothing was left to do, after %d the next run did it, after %d a later one, and %d needed a user's login.", self, next, runs-self-next-login, login)
	return fmt.Sprintf(reliabilityIntro, len(rows), runs, counts) + b.String()
}

// failureSums is a cell of the summary.
func failureSums(rows []faultRow) string {
	if len(rows) == 0 {
		return ""
	}
	var once, lasting []string
	archived, deleted, login := sameRun, sameRun, ""
	for _, r := range rows {
		once = append(once, strconv.Itoa(r.once.code))
		if !r.Once {
			lasting = append(lasting, strconv.Itoa(r.lasting.code))
		}
		for _, c := range r.results() {
			archived, deleted = later(archived, c.archived), later(deleted, c.deleted)
			if c.login {
				login = ", login"
			}
		}
	}
	if deleted != archived {
		login += "; originals: " + deleted
	}
	return fmt.Sprintf("%s / %s<br>%s%s", codes(once), codes(lasting), archived, login)
}

// later is the later of two runs.
func later(a, b string) string {
	at := func(name string) int {
		return slices.IndexFunc(laterRuns, func(l laterRun) bool { return l.name == name })
	}
	if at(b) > at(a) {
		return b
	}
	return a
}

// codes are different exit codes in their order.
func codes(all []string) string {
	slices.Sort(all)
	return cmp.Or(strings.Join(slices.Compact(all), " "), "-")
}

// results are those of the runs that a row stands for.
func (r faultRow) results() []cellResult {
	if r.Once {
		return []cellResult{r.once}
	}
	return []cellResult{r.once, r.lasting}
}

// grouped puts rows of an action and class together whose outcome is the same.
func grouped(rows []faultRow) (groups [][]faultRow) {
	index := map[string]int{}
	for _, r := range rows {
		once, lasting, repaired := r.texts()
		key := strings.Join([]string{r.Action.Name, string(r.Class), once, lasting, repaired}, "\x00")
		at, ok := index[key]
		if !ok {
			at = len(groups)
			index[key] = at
			groups = append(groups, nil)
		}
		groups[at] = append(groups[at], r)
	}
	return groups
}

// texts are a row's cells.
func (r faultRow) texts() (once, lasting, repaired string) {
	once, repaired = r.once.text(), r.once.repaired()
	if !r.Once {
		lasting, repaired = r.lasting.text(), r.lasting.repaired()
	}
	if r.Parts {
		repaired += "; parts stay until a run a day later ends them, or the bucket's rule for incomplete uploads"
	}
	return once, lasting, repaired
}

func (r cellResult) text() string {
	if r.code == exitOK && r.report == "ok" {
		if r.archived == sameRun && r.deleted == sameRun {
			return "exit 0, archived and deleted"
		}
		if r.archived == sameRun {
			return "exit 0, archived, original still there"
		}
		return "exit 0, nothing archived"
	}
	return fmt.Sprintf("exit %d: %s", r.code, steady(r.report))
}

func (r cellResult) repaired() string {
	switch {
	case r.deleted == sameRun && r.archived == sameRun:
		return "-"
	case r.login:
		return "the first run after the user's login"
	case r.archived == r.deleted:
		return r.deleted
	}
	return fmt.Sprintf("%s; originals: %s", r.archived, r.deleted)
}

// unsteady is what differs from one run of the table to the next.
var unsteady = []struct {
	pattern *regexp.Regexp
	text    string
}{
	{regexp.MustCompile(` \(correlation id [^)]*\)`), ""},
	{regexp.MustCompile(`[a-z_ ]+: limited by Genesys until \S*Z`), "limited by Genesys until …"},
	{regexp.MustCompile(`https response error StatusCode: \d+, RequestID: \w+, HostID: [^,]*, `), ""},
	{regexp.MustCompile(`(net/http: HTTP/1\.x transport connection broken: )?(io: read/write on closed pipe|http: server closed idle connection|unexpected EOF|\bEOF\b)`), "connection closed"},
	{regexp.MustCompile(`genesys/(media|manifests)/org=acme/inbox=[^/ ]*/year=2026/month=11/day=\d\d/`), "genesys/$1/…/"},
	{regexp.MustCompile(`genesys/doctor/[A-Za-z0-9_-]*`), "genesys/doctor/…"},
	{regexp.MustCompile(`genesys/owners/org=acme/inbox=[^/ ]*json`), "genesys/owners/….json"},
	{regexp.MustCompile(`, request [A-Za-z0-9]+`), ""},
	{regexp.MustCompile(`host 10\.0\.0\.\d+`), "host …"},
	{regexp.MustCompile(`\brec-\d`), "rec-1"},
}

func steady(s string) string {
	for _, v := range unsteady {
		s = v.pattern.ReplaceAllString(s, v.text)
	}
	return strings.NewReplacer("|", "\\|", "\n", " ", "<", "&lt;").Replace(s)
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
