package audit

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/archiverd/archiverd/record"
)

const auditPage = "../docs/audit.md"

var update = flag.Bool("update", false, "write the tables of terms in docs/audit.md anew")

// TestTermsOnPage keeps the tables of terms in docs/audit.md in step with their meanings.
func TestTermsOnPage(t *testing.T) {
	text, err := os.ReadFile(auditPage)
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	page = withTable(t, page, "fault", append(record.Faults[:], record.FaultKnownBad))
	page = withTable(t, page, "class", Classes[:])
	page = withTable(t, page, "kind", ObjectKinds[:])
	if *update {
		if err := os.WriteFile(auditPage, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if page != string(text) {
		t.Error("go test ./audit -run TestTermsOnPage -update brings the tables of docs/audit.md up to date")
	}
}

// withTable returns the page with the rows below the heading made anew.
func withTable[T interface {
	~string
	Meaning() string
}](t *testing.T, page, heading string, terms []T) string {
	t.Helper()
	before, rest, found := strings.Cut(page, "| "+heading+" | |\n|---|---|\n")
	_, after, ended := strings.Cut(rest, "\n\n")
	if !found || !ended {
		t.Fatalf("docs/audit.md has no table %q", heading)
	}
	var rows strings.Builder
	for _, term := range terms {
		if term.Meaning() == "" {
			t.Errorf("%s has no meaning", term)
		}
		fmt.Fprintf(&rows, "| %s | %s |\n", term, term.Meaning())
	}
	return before + "| " + heading + " | |\n|---|---|\n" + rows.String() + "\n" + after
}
