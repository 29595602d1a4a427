package main

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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
	if d := cmp.Diff(string(have), page); d != "" {
		t.Errorf("docs/reliability.md is not what the cells showed; look at each difference, then run make reliability: -page +shown\n%s", d)
	}
}

const reliabilityIntro = `# What happens when something fails

This page is made by running every row of it. Two recordings wait in an inbox, and deletion of originals is on without any delay. A
run meets the fault, once for a single request ("one request") and once for every such request ("all requests"). Then the fault is
lifted, and the next runs follow after a minute, a quarter of an hour, an hour, two hours and a day.

In every row each recording ends up in the bucket exactly as Genesys served it, once, with its manifest, and only then its original
is deleted; nothing is overwritten, and no token leaves its host. Where a row says that a user has to log in, nothing else is needed.
The last column says which run after the fault had all archived and, where that took longer, all originals deleted.

Not in the table, since nobody can detect it: audio altered on the way by someone who breaks TLS. Genesys gives no checksum of a
recording; archiverd checks size, format and duration.

` + "`make reliability`" + ` runs the table and writes this page; ` + "`make test`" + ` fails where the two differ. The rows are data, in
integration_test/faults; some of them are run again with the real binary against real stores.
`

// reliability makes the page.
func reliability(rows []faultRow) string {
	var b strings.Builder
	b.WriteString(reliabilityIntro)
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

// grouped joins rows of an action and class with the same outcome.
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
