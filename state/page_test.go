package state_test

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/archiverd/archiverd/state"
)

const statesPage = "../docs/states.md"

var update = flag.Bool("update", false, "write docs/states.md anew")

// TestStatesPage keeps the diagram of docs/states.md in step with the table of edges.
func TestStatesPage(t *testing.T) {
	page := statesOf(t, state.Edges())
	if *update {
		if err := os.WriteFile(statesPage, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(statesPage)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(page, string(got)); diff != "" {
		t.Errorf("go test ./state -run TestStatesPage -update brings the page up to date:\n%s", diff)
	}
}

// reasons say what takes a recording along an edge.
var reasons = map[state.Edge]string{
	{From: "", To: state.StateListed}: "listed for the first time",

	{From: state.StateListed, To: state.StateArchived}: "media and manifest stored and proved",
	{From: state.StateListed, To: state.StateFailed}:   "a step failed",
	{From: state.StateListed, To: state.StateVanished}: "two complete listings missed it, and Genesys says 404",

	{From: state.StateListed, To: state.StateWaived}: "a person accepts that it is not archived",
	{From: state.StateFailed, To: state.StateWaived}: "a person accepts that it is not archived",

	{From: state.StateFailed, To: state.StateListed}:   "it changed, another recording was served the same media, or a person asked to retry",
	{From: state.StateFailed, To: state.StateArchived}: "tried again, stored and proved",
	{From: state.StateFailed, To: state.StateVanished}: "two complete listings missed it, and Genesys says 404",

	{From: state.StateArchived, To: state.StateDeleteRequested}: "every check passed. This is written before DELETE is sent",
	{From: state.StateArchived, To: state.StateGone}:            "two complete listings missed it, and Genesys says 404",
	{From: state.StateArchived, To: state.StateListed}:          "it changed, or another recording was served the same media",
	{From: state.StateArchived, To: state.StateFailed}:          "it changed in five passes running",

	{From: state.StateDeleteRequested, To: state.StateDeleted}:  "a complete listing no longer shows it",
	{From: state.StateDeleteRequested, To: state.StateArchived}: "refused, or still listed after a day",
	{From: state.StateDeleteRequested, To: state.StateListed}:   "listed again, changed",

	{From: state.StateDeleted, To: state.StateListed}:   "listed again, changed",
	{From: state.StateDeleted, To: state.StateArchived}: "still listed after a day",
	{From: state.StateGone, To: state.StateListed}:      "listed again, changed",
	{From: state.StateGone, To: state.StateArchived}:    "listed again",
	{From: state.StateVanished, To: state.StateListed}:  "listed again",
	{From: state.StateVanished, To: state.StateWaived}:  "a person accepts that it is not archived",
	{From: state.StateWaived, To: state.StateListed}:    "listed again after it was missing, or listed with a change",

	{From: state.StateArchived, To: state.StateErased}:  "media and manifests were removed by an order",
	{From: state.StateArchived, To: state.StateExpired}: "media and manifests were removed after their retention",
	{From: state.StateDeleted, To: state.StateErased}:   "media and manifests were removed by an order",
	{From: state.StateDeleted, To: state.StateExpired}:  "media and manifests were removed after their retention",
	{From: state.StateGone, To: state.StateErased}:      "media and manifests were removed by an order",
	{From: state.StateGone, To: state.StateExpired}:     "media and manifests were removed after their retention",
	{From: state.StateWaived, To: state.StateErased}:    "media and manifests of its earlier versions were removed by an order",
	{From: state.StateWaived, To: state.StateExpired}:   "media and manifests of its earlier versions were removed after their retention",
}

// statesOf is the page. An edge from a state to itself is not drawn.
func statesOf(t *testing.T, edges []state.Edge) string {
	var diagram, why strings.Builder
	left := maps.Clone(reasons)
	for _, e := range edges {
		if e.From == e.To {
			continue
		}
		if left[e] == "" {
			t.Errorf("say in reasons what takes a recording from %q to %q", e.From, e.To)
		}
		delete(left, e)
		fmt.Fprintf(&diagram, "    %s --> %s\n", cmp.Or(e.From, "[*]"), e.To)
		fmt.Fprintf(&why, "| %s | %s | %s |\n", e.From, e.To, reasons[e])
	}
	for e := range left {
		t.Errorf("reasons has an edge from %q to %q, which the ledger refuses", e.From, e.To)
	}
	var meanings strings.Builder
	for _, s := range state.States() {
		fmt.Fprintf(&meanings, "| %s | %s | %s |\n", s, s.Meaning(), more[s])
	}
	return statesIntro + "```mermaid\nstateDiagram-v2\n" + diagram.String() + "```\n" +
		"\n| state | what it means | |\n|---|---|---|\n" + meanings.String() + statesWhy + why.String()
}

const statesIntro = `# The states of a recording

Made from the ledger's table of edges: ` + "`go test ./state -run TestStatesPage -update`" + ` writes this page.

The ledger holds each recording in one of these states, which ` + "`archiverd ls`" + ` and ` + "`archiverd show`" + ` print. It refuses every change
of state that is not drawn here. An entry may be edited without leaving its state.

`

// more is what the page adds to what a state means.
var more = map[state.State]string{
	state.StateListed:          "seen in the inbox",
	state.StateFailed:          "tried again later",
	state.StateArchived:        "both were proved",
	state.StateDeleteRequested: "written before the DELETE is sent, so it may not have been sent. This state alone never causes a DELETE",
	state.StateVanished:        "by whom is not known",
	state.StateGone:            "archiverd sent no DELETE",
	state.StateWaived:          "no failure any more; archived after all if it comes back",
	state.StateErased:          "media and manifests were removed. Final: never archived again",
	state.StateExpired:         "media and manifests were removed. Final: never archived again",
}

const statesWhy = `
[audit.md](audit.md) says what is checked on the way to archived and before a deletion.

| from | to | why |
|---|---|---|
`
